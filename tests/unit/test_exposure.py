import pandas as pd
import pytest

from ser.exposure import Exposure, examine

COLUMNS = pd.Index(["corpus", "speaker", "sentence", "recording", "content"])
TRAIN = [
    ("ravdess", "s1", "01", "a", "a2"),
    ("ravdess", "s2", "02", "b", "b"),
    ("tess", "s3", "", "c", "c"),
]
PART = [
    ("ravdess", "s1", "01", "a", "a1"),
    ("ravdess", "s1", "03", "d", "d"),
    ("tess", "s9", "02", "e", "e"),
]


@pytest.fixture
def exposure() -> Exposure:
    return examine(pd.DataFrame(PART, columns=COLUMNS), pd.DataFrame(TRAIN, columns=COLUMNS))


def test_speakers_sentences_and_copies_met_in_training_are_counted(exposure):
    assert (exposure.speakers, exposure.seen_speakers) == (2, 1)
    assert (exposure.sentences, exposure.seen_sentences) == (3, 1)  # 02 was said in another corpus
    assert (exposure.recordings, exposure.near_copies) == (3, 1)


def test_it_is_said_in_words(exposure):
    assert exposure.describe() == (
        "1 of its 2 speakers were heard in training; of its 3 sentences, training heard 1;"
        " 1 of 3 recordings were heard there, too."
    )
    assert Exposure(5, 0, 0, 0, 9, 0).describe() == "None of its 5 speakers was heard in training."
    assert Exposure(5, 5, 0, 0, 9, 0).describe() == "All of its 5 speakers were heard in training."


def test_unknown_speakers_are_not_called_unheard():
    part = pd.DataFrame([("my", "", "", "x", "x")], columns=COLUMNS)
    words = examine(part, pd.DataFrame(TRAIN, columns=COLUMNS)).describe()
    assert words == "Who speaks is not known, nor whether training heard them."


def test_speakers_from_elsewhere_may_go_by_another_name():
    train = pd.DataFrame(TRAIN, columns=COLUMNS)
    part = pd.DataFrame([("my", "my/1", "", "a2", "a2")], columns=COLUMNS)
    exposure = examine(part, train, foreign=True)
    assert exposure.flatters
    assert exposure.describe() == (
        "None of its 1 speakers has the name of one heard in training;"
        " 1 of 1 recordings were heard there, too."
    )
