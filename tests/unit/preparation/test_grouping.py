import re
from pathlib import PurePosixPath

import pandas as pd
import pytest

from ser.config.split import SplitConfig, SplitKind
from ser.corpora import CORPORA
from ser.errors import UserError
from ser.preparation.leaks import find_leaks
from ser.preparation.manifest import DROPPED_COLUMNS, Manifest
from ser.preparation.splits import PARTS, assign


def test_two_speakers_are_for_training_and_four_give_two_one_one(table, split):
    done = split(table({"ravdess": 24, "tess": 2, "savee": 4}), "speaker")
    counts = done.groupby(["corpus", "split"])["speaker"].nunique().to_dict()
    assert [counts.get(("tess", part), 0) for part in PARTS] == [2, 0, 0]
    assert [counts.get(("savee", part), 0) for part in PARTS] == [2, 1, 1]


def test_a_speaker_split_of_two_speakers_is_refused(table, split):
    with pytest.raises(UserError, match="val part without happy, neutral, sad"):
        split(table({"tess": 2}), "speaker")


def test_shares_that_leave_no_training_speaker_are_refused(table, split):
    with pytest.raises(UserError, match="savee"):
        split(table({"savee": 4}), "speaker", val=0.5, test=0.4)


def test_a_speaker_split_needs_speakers(table, split):
    frame = table({"my": 5})
    frame.loc[3, "speaker"] = ""
    for kind in ("speaker", "folds"):
        with pytest.raises(UserError, match="speaker of every utterance"):
            split(frame, kind)
    with pytest.raises(UserError, match="speaker of every utterance"):
        split(frame, "cross_speaker", test_speakers=["1"])
    frame["speaker"] = ""
    assert find_leaks(split(frame)).speakers == ()


def test_genders_are_balanced_in_a_speaker_split(table, split):
    frame = table({"ravdess": 24})
    number = frame["speaker"].str.rpartition("/")[2].astype(int)
    frame["gender"] = number.map(lambda index: "male" if index < 12 else "female")
    for seed in range(5):
        done = split(frame, "speaker", seed=seed, test=0.2)
        women = done.assign(woman=done["gender"] == "female").groupby("split")["woman"].mean()
        assert women.between(0.4, 0.6).all()


def sentences_of(done: pd.DataFrame, part: str) -> set[str]:
    return set(done.loc[done["split"] == part, "sentence"])


def test_a_sentence_split_shares_no_sentence_and_shares_speakers(split, spoken):
    frame = spoken()
    done = split(frame, "sentence")
    assert len(done) == len(frame)
    parts = [sentences_of(done, part) for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    assert [len(part) for part in parts] == [14, 4, 2]
    assert len(find_leaks(done).speakers) == 20


def test_a_speaker_and_sentence_split_shares_neither_and_drops_the_rest(spoken):
    frame = spoken()
    empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    config = SplitConfig(kind=SplitKind.speaker_sentence)
    done = assign(Manifest(frame, empty), config)
    leaks = find_leaks(done.utterances)
    assert (leaks.speakers, leaks.sentences) == ((), ())
    assert len(done.utterances) == 3 * (14 * 14 + 4 * 4 + 2 * 2)
    assert len(done.dropped) == len(frame) - len(done.utterances)
    assert set(done.dropped["reason"]) == {"not_in_split"}


def test_sentences_must_be_known_and_at_least_three(table, split, spoken):
    with pytest.raises(UserError, match="sentence of every utterance"):
        split(table({"my": 5}), "sentence")
    with pytest.raises(UserError, match="part without"):
        split(spoken(24, "ravdess", ("01", "02")), "sentence")


@pytest.mark.slow
def test_savee_has_enough_sentences_for_a_sentence_split(split):
    """Names as in the real corpus; most sentences occur in one emotion only."""
    parse = CORPORA["savee"].parse
    assert parse is not None
    names = [f"{code}{n:02}" for code in ("a", "d", "f", "h", "sa", "su") for n in range(1, 16)]
    names += [f"n{n:02}" for n in range(1, 31)]
    found = [
        parse(PurePosixPath(f"ALL/{who}_{name}.wav"))
        for who in ("DC", "JE", "JK", "KL")
        for name in names
    ]
    frame = pd.DataFrame([vars(utterance) for utterance in found]).assign(corpus="savee")
    frame = frame.assign(
        content=frame["id"], recording=frame["id"], emotion=frame["emotion"].astype(str)
    )
    for seed in range(5):
        done = split(frame, "sentence", seed=seed)
        assert find_leaks(done).sentences == ()
        assert done.groupby("split")["emotion"].nunique().tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "names",
    [{"test_speakers": ["YAF"]}, {"test_speakers": ["tess/YAF"], "train_speakers": ["OAF"]}],
)
def test_a_cross_speaker_split_validates_on_other_words_of_the_training_speaker(
    names, split, spoken
):
    frame = spoken(2, "tess").assign(
        speaker=lambda rows: rows["speaker"].map({"tess/0": "tess/OAF", "tess/1": "tess/YAF"})
    )
    done = split(frame, "cross_speaker", **names)
    speakers = done.groupby("split")["speaker"].unique().map(list).to_dict()
    assert speakers == {"test": ["tess/YAF"], "train": ["tess/OAF"], "val": ["tess/OAF"]}
    assert not sentences_of(done, "train") & sentences_of(done, "val")
    assert len(sentences_of(done, "val")) == 4
    assert len(sentences_of(done, "test")) == 20


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ({"test_speakers": ["ZAF"]}, "split.test_speakers=ZAF"),
        ({"test_speakers": ["0"], "train_speakers": ["9"]}, "split.train_speakers=9"),
        ({"test_speakers": ["0"], "train_speakers": ["1"]}, "split=cross_speaker"),
        ({"test_speakers": ["0", "1", "2"]}, "split.test_speakers=['0', '1', '2']"),
        ({"test_speakers": ["my/0"], "train_speakers": ["0", "1", "2"]}, "my/0 are in"),
    ],
)
def test_lists_of_speakers_that_cannot_work_are_refused(names, key, split, spoken):
    with pytest.raises(UserError, match=re.escape(key)):
        split(spoken(3), "cross_speaker", **names)


@pytest.mark.parametrize("names", [{}, {"test_speakers": ["a"], "train_speakers": ["a"]}])
def test_a_cross_speaker_split_needs_distinct_test_speakers(names):
    with pytest.raises(UserError, match=r"split\.\w+_speakers"):
        SplitConfig(kind=SplitKind.cross_speaker, **names)
