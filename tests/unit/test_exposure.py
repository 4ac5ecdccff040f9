import pandas as pd
import pytest

from ser.exposure import Exposure, examine


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Utterances (speaker, sentence, recording)."""
    columns = pd.Index(["speaker", "sentence", "recording"])
    return pd.DataFrame(rows, columns=columns).assign(corpus="ravdess")


@pytest.fixture
def exposure() -> Exposure:
    train = table(("s1", "01", "a"), ("s2", "02", "b"), ("s3", "", "c"), ("", "", "e"))
    part = table(("s1", "01", "a"), ("s1", "03", "d"), ("s9", "02", "b"), ("", "", "f"))
    return examine(part, train)


def test_speakers_and_sentences_met_in_training_are_counted(exposure):
    assert (exposure.speakers, exposure.seen_speakers) == (2, 1)
    assert (exposure.sentences, exposure.seen_sentences) == (3, 2)


def test_recordings_with_a_copy_in_training_are_counted(exposure):
    assert (exposure.examined, exposure.near_copies) == (4, 2)


def test_it_is_said_in_words(exposure):
    assert exposure.describe() == (
        "1 of its 2 speakers were heard in training; 2 of its 3 sentences were, too;"
        " 2 of 4 recordings have a near copy there."
    )
    assert Exposure(5, 0, 0, 0, 0, 0).describe() == "None of its 5 speakers was heard in training."
