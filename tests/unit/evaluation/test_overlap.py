import re

import pandas as pd
import pytest

from ser.evaluation.overlap import TrainTestOverlap, examine

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
def overlap() -> TrainTestOverlap:
    return examine(pd.DataFrame(PART, columns=COLUMNS), pd.DataFrame(TRAIN, columns=COLUMNS))


def test_speakers_sentences_and_copies_seen_in_training_are_counted(overlap):
    assert (overlap.speakers, overlap.seen_speakers) == (2, 1)
    assert (overlap.sentences, overlap.seen_sentences) == (3, 1)  # 02 is of another corpus
    assert (overlap.recordings, overlap.near_copies) == (3, 1)
    assert overlap.flatters


def test_the_counts_are_described(overlap):
    words = overlap.describe()
    assert re.findall(r"(speakers|sentences|recordings) [^.]*: (\d of \d)", words) == [
        ("speakers", "1 of 2"),
        ("sentences", "1 of 3"),
        ("recordings", "1 of 3"),
    ]
    assert overlap.describe("val").startswith("Validation speakers")


def test_unknown_speakers_and_sentences_have_no_counts():
    part = pd.DataFrame([("my", "", "", "x", "x")], columns=COLUMNS)
    found = examine(part, pd.DataFrame(TRAIN, columns=COLUMNS))
    assert (found.speakers, found.sentences, found.flatters) == (0, 0, False)
    assert "unknown" in found.describe()
    assert "0 of 0" not in found.describe()


def test_copies_are_found_in_data_from_elsewhere():
    train = pd.DataFrame(TRAIN, columns=COLUMNS)
    part = pd.DataFrame([("my", "my/1", "", "a2", "a2")], columns=COLUMNS)
    found = examine(part, train, foreign=True)
    assert (found.seen_speakers, found.near_copies) == (0, 1)
    assert found.flatters
    assert "by name" in found.describe()
