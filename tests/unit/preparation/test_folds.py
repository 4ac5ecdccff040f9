from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd
import pytest

from ser.corpora import CORPORA, Fold, cremad
from ser.errors import UserError
from ser.preparation.leaks import find_leaks


def test_folds_test_every_speaker_once(table, split):
    frame = table({"ravdess": 24, "savee": 4, "tess": 2})
    tested = []
    for fold in range(1, 6):
        done = split(frame, "folds", folds=5, fold=fold)
        assert find_leaks(done).speakers == ()
        tested += done.loc[done["split"] == "test", "speaker"].unique().tolist()
    known = frame.loc[frame["corpus"] != "tess", "speaker"].unique()
    assert sorted(tested) == sorted(known)


@pytest.mark.parametrize(
    ("scheme", "corpus", "fold", "expected"),
    [
        ("emobox", "ravdess", 2, ["04", "10", "12", "14"]),
        ("luna_jimenez", "ravdess", 5, ["01", "04", "09", "22"]),
        ("emobox", "savee", 3, ["DC"]),
    ],
)
def test_published_folds_have_the_published_speakers(scheme, corpus, fold, expected, table, split):
    names = [f"{n:02}" for n in range(1, 25)] if corpus == "ravdess" else ["DC", "JE", "JK", "KL"]
    frame = table({corpus: len(names)})
    number = frame["speaker"].str.rpartition("/")[2].astype(int)
    frame["speaker"] = f"{corpus}/" + number.map(dict(enumerate(names)))
    done = split(frame, "folds", scheme=scheme, fold=fold)
    tested = done.loc[done["split"] == "test", "speaker"].unique()
    assert sorted(tested) == [f"{corpus}/{name}" for name in expected]


def test_every_speaker_is_in_one_published_fold():
    for scheme, corpus, count in (
        ("emobox", "ravdess", 24), ("luna_jimenez", "ravdess", 24), ("emobox", "savee", 4),
        ("emo_superb", "cremad", 91), ("emobox", "iemocap", 10), ("emobox", "esd", 20),
    ):  # fmt: skip
        tested = [speaker for fold in CORPORA[corpus].folds[scheme] for speaker in fold.test]
        assert len(tested) == len(set(tested)) == count


def test_excluded_utterances_are_left_out_of_every_published_fold(table, split, monkeypatch):
    fold = Fold(test=("0",), excluded=("1/sad/0", "0/sad/0"))
    birds = replace(CORPORA["savee"], name="birds", folds={"mine": (fold,)}, files=122)
    monkeypatch.setitem(CORPORA, "birds", birds)
    frame = table({"birds": 4})
    done = split(frame, "folds", scheme="mine")
    assert set(frame["id"]) - set(done["id"]) == {"birds/1/sad/0", "birds/0/sad/0"}
    assert set(done.loc[done["split"] == "test", "speaker"]) == {"birds/0"}


def test_folds_with_too_few_utterances_of_every_emotion_are_refused(table, split):
    frame = table({"my": 5}, takes=1)
    few = frame[
        frame.groupby("emotion").cumcount()
        != frame["emotion"].map({"happy": 1, "sad": 2, "neutral": 3})
    ]
    assert few["speaker"].nunique() == 5
    with pytest.raises(UserError, match=r"split\.folds=5"):
        split(few, "folds", folds=5)


def test_a_scheme_without_folds_of_a_corpus_is_refused(table, split):
    with pytest.raises(UserError, match=r"split\.scheme=emobox"):
        split(table({"cremad": 10}), "folds", scheme="emobox")


def cremad_table() -> pd.DataFrame:
    """The CREMA-D of 91 actors, with two files of each emotion and actor."""
    rows = [
        (
            f"cremad/{actor}_{sentence}_{emotion}_XX",
            f"cremad/{actor}",
            str(cremad.EMOTIONS[emotion]),
            sentence,
        )
        for actor in range(1001, 1092)
        for emotion in cremad.EMOTIONS
        for sentence in ("TIE", "WSI", "ITH", "IWW")
    ]
    frame = pd.DataFrame(rows, columns=pd.Index(["id", "speaker", "emotion", "sentence"]))
    return frame.assign(
        corpus="cremad", gender="", content=frame["id"], recording=frame["id"], path=""
    )


@pytest.mark.parametrize("fold", range(1, 6))
def test_emo_superb_fixes_test_and_validation_speakers(fold, split):
    blocks = [
        range(1001, 1019),
        range(1019, 1037),
        range(1037, 1055),
        range(1055, 1073),
        range(1073, 1092),
    ]
    done = split(cremad_table(), "folds", scheme="emo_superb", fold=fold)
    found = done.groupby("split")["speaker"].unique().map(set)
    for part, block in (("test", blocks[fold - 1]), ("val", blocks[fold % 5])):
        assert found[part] == {f"cremad/{actor}" for actor in block}
    assert len(found["train"]) == 91 - len(found["test"]) - len(found["val"])


def test_tfds_is_one_split_without_four_files(caplog, split):
    frame = cremad_table()
    done = split(frame, "folds", scheme="tfds")
    assert set(frame["id"]) - set(done["id"]) == {
        "cremad/1040_ITH_SAD_XX", "cremad/1006_TIE_NEU_XX", "cremad/1013_WSI_DIS_XX", "cremad/1017_IWW_FEA_XX",
    }  # fmt: skip
    assert done.groupby("split")["speaker"].nunique().to_dict() == {
        "test": 19,
        "train": 63,
        "val": 9,
    }
    assert "2,180 of the 7,438" in caplog.text  # says how much of the published list is used


def test_published_cremad_splits_have_the_published_sizes(real_audio):
    listing = real_audio.parent / "listings" / "cremad.tsv"
    if not listing.is_file():
        pytest.skip("no cremad.tsv beside SER_REAL_AUDIO")
    names = [line.split("\t")[0] for line in listing.read_text().splitlines()]
    found = [cremad.parse(PurePosixPath(name)) for name in names]
    actors = [utterance.speaker for utterance in found]
    sizes = [sum(map(actors.count, fold.test)) for fold in cremad.FOLDS["emo_superb"]]
    assert sizes == [1463, 1470, 1476, 1476, 1557]
    [fold] = cremad.FOLDS["tfds"]
    listed = [utterance.speaker for utterance in found if utterance.id not in fold.excluded]
    test, val = sum(map(listed.count, fold.test)), sum(map(listed.count, fold.val))
    assert (len(listed) - test - val, val, test) == (5144, 738, 1556)


def test_published_folds_train_on_corpora_that_have_fewer_folds_or_none(table, split):
    frame = table({"ravdess": 24, "savee": 4, "my": 2})
    for corpus, names in (
        ("ravdess", [f"{n:02}" for n in range(1, 25)]),
        ("savee", ["DC", "JE", "JK", "KL"]),
    ):
        rows = frame["corpus"] == corpus
        number = frame.loc[rows, "speaker"].str.rpartition("/")[2].astype(int)
        frame.loc[rows, "speaker"] = f"{corpus}/" + number.map(dict(enumerate(names)))
    done = split(frame, "folds", scheme="emobox", fold=5)
    assert set(done.loc[done["split"] == "test", "corpus"]) == {"ravdess"}
    assert set(done.loc[done["corpus"] == "my", "split"]) == {"train"}
