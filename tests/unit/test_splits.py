import pandas as pd
import pytest

from ser.corpora import CORPORA
from ser.data_config import SplitConfig, SplitKind
from ser.leaks import Leaks, check_leaks, find_leaks
from ser.manifest import COLUMNS, DROPPED_COLUMNS, Manifest
from ser.splits import PARTS, assign

EMOTIONS = ("neutral", "happy", "sad")


def table(speakers: dict[str, int], takes: int = 10) -> pd.DataFrame:
    """So many speakers of each corpus, each with so many takes of three emotions."""
    rows = [
        (f"{corpus}/{speaker}/{emotion}/{take}", corpus, f"{corpus}/{speaker}", emotion)
        for corpus, count in speakers.items()
        for speaker in range(count)
        for emotion in EMOTIONS
        for take in range(takes)
    ]
    frame = pd.DataFrame(rows, columns=pd.Index(["id", "corpus", "speaker", "emotion"]))
    return frame.assign(gender="female", content=frame["id"], recording=frame["id"])


def split(frame: pd.DataFrame, kind: str = "stratified", **options) -> pd.DataFrame:
    empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    config = SplitConfig(kind=SplitKind(kind), **options)
    return assign(Manifest(frame, empty), config).utterances


def test_the_default_is_70_20_10_of_every_emotion_and_corpus():
    done = split(table({"ravdess": 10, "cremad": 10}))
    shares = done.groupby(["corpus", "emotion"])["split"].value_counts(normalize=True)
    for part, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert (shares.xs(part, level="split") - share).abs().max() < 0.02


def test_speakers_are_kept_apart_in_about_the_shares_asked_for():
    done = split(table({"ravdess": 24, "cremad": 91}), "speaker")
    assert find_leaks(done).speakers == ()
    shares = done["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.1, abs=0.03)
    assert shares["val"] == pytest.approx(0.2, abs=0.04)


def test_two_speakers_are_for_training_and_four_are_shared_out_two_one_one():
    done = split(table({"ravdess": 24, "tess": 2, "savee": 4}), "speaker")
    counts = done.groupby(["corpus", "split"])["speaker"].nunique().to_dict()
    assert [counts.get(("tess", part), 0) for part in PARTS] == [2, 0, 0]
    assert [counts.get(("savee", part), 0) for part in PARTS] == [2, 1, 1]


def test_a_speaker_split_of_two_speakers_alone_is_refused():
    with pytest.raises(
        ValueError, match=r"leaves the val part without happy, neutral, sad: tess \(2 speakers"
    ):
        split(table({"tess": 2}), "speaker")


def test_an_emotion_that_misses_a_part_is_named():
    frame = table({"ravdess": 10})
    one = frame["speaker"] == "ravdess/0"
    frame.loc[one & (frame["emotion"] == "sad"), "emotion"] = "calm"
    with pytest.raises(ValueError, match="part without calm"):
        split(frame, "speaker")


def test_too_few_utterances_of_an_emotion_are_named():
    frame = table({"ravdess": 4})
    frame.loc[frame.index[:2], "emotion"] = "calm"
    with pytest.raises(ValueError, match="calm has fewer than 3 utterances"):
        split(frame)


def test_a_small_table_that_cannot_be_stratified_is_refused_in_words():
    with pytest.raises(ValueError, match="use more data or a larger share"):
        split(table({"ravdess": 1}, takes=3))


def test_shares_that_leave_no_speaker_for_training_are_refused():
    with pytest.raises(ValueError, match="leave no speaker of savee for training"):
        split(table({"savee": 4}), "speaker", val=0.5, test=0.4)


def test_the_seed_decides_and_nothing_else():
    frame = table({"ravdess": 24})
    for kind in ("stratified", "speaker"):
        first = split(frame, kind, seed=1)
        pd.testing.assert_frame_equal(
            first, split(frame.sample(frac=1, random_state=3), kind, seed=1)
        )
        assert not first["split"].equals(split(frame, kind, seed=2)["split"])


def test_leaks_are_found():
    frame = table({"ravdess": 2}).iloc[[0, 1, 30]].assign(split=["train", "test", "val"])
    assert find_leaks(frame) == Leaks(speakers=("ravdess/0",), recordings=())
    frame["recording"] = "same"
    assert find_leaks(frame).recordings == ("same",)


def test_a_copy_under_another_speaker_fails_a_speaker_split_and_no_random_one():
    frame = table({"ravdess": 10}).assign(path=lambda rows: rows["id"])
    frame.loc[frame["id"].str.endswith("/sad/0"), "recording"] = "same"
    with pytest.raises(ValueError, match=r"1 recordings are in two parts .* ~ ravdess/\d/sad/0"):
        split(frame, "speaker")
    assert find_leaks(split(frame)).recordings == ("same",)


def test_a_held_out_corpus_is_the_test_part_and_speakers_of_others_are_kept_apart():
    done = split(table({"ravdess": 10, "tess": 2, "savee": 4}), "corpus", held_out=["savee"])
    assert set(done.loc[done["split"] == "test", "corpus"]) == {"savee"}
    assert (done[done["corpus"] == "savee"]["split"] == "test").all()
    assert find_leaks(done).speakers == ()
    assert done[done["corpus"] == "tess"]["split"].eq("train").all()
    assert done[done["split"] == "val"]["speaker"].nunique() == 2


def test_a_held_out_corpus_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"held_out=tess: the data hold only ravdess"):
        split(table({"ravdess": 10}), "corpus", held_out=["tess"])
    with pytest.raises(ValueError, match="nothing to train on"):
        split(table({"ravdess": 10}), "corpus", held_out=["ravdess"])


def test_an_emotion_known_only_to_the_held_out_corpus_is_refused():
    frame = table({"ravdess": 10, "cremad": 10})
    calm = (frame["corpus"] == "ravdess") & (frame["emotion"] == "sad")
    frame.loc[calm, "emotion"] = "calm"
    with pytest.raises(ValueError, match=r"train part without calm.*data\.merge"):
        split(frame, "corpus", held_out=["ravdess"])


def test_folds_test_every_speaker_once_and_keep_speakers_apart():
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
def test_published_folds_are_as_published(scheme, corpus, fold, expected):
    names = [f"{n:02}" for n in range(1, 25)] if corpus == "ravdess" else ["DC", "JE", "JK", "KL"]
    frame = table({corpus: len(names)})
    number = frame["speaker"].str.rpartition("/")[2].astype(int)
    frame["speaker"] = f"{corpus}/" + number.map(dict(enumerate(names)))
    done = split(frame, "folds", scheme=scheme, fold=fold)
    tested = done.loc[done["split"] == "test", "speaker"].unique()
    assert sorted(tested) == [f"{corpus}/{name}" for name in expected]


def test_every_speaker_is_in_one_published_fold():
    for scheme, corpus, count in (
        ("emobox", "ravdess", 24), ("luna_jimenez", "ravdess", 24), ("emobox", "savee", 4)
    ):  # fmt: skip
        folds = CORPORA[corpus].folds[scheme]
        assert len({who for fold in folds for who in fold}) == count == sum(map(len, folds))


def test_a_scheme_without_folds_of_a_corpus_is_refused():
    with pytest.raises(ValueError, match=r"split\.scheme=emobox has no folds of cremad"):
        split(table({"cremad": 10}), "folds", scheme="emobox")


def test_a_table_split_is_what_the_column_says():
    frame = table({"my": 3})
    parts = frame["speaker"].map({"my/0": "train", "my/1": "val", "my/2": "test"})
    pd.testing.assert_series_equal(
        split(frame.assign(split=parts), "table")["split"], parts.rename("split"), check_dtype=False
    )
    with pytest.raises(ValueError, match="30 of 90 utterances have no split column"):
        split(frame.assign(split=parts.mask(parts == "val", "")), "table")


def test_a_split_can_be_used_again(tmp_path):
    frame = table({"ravdess": 10})
    done = split(frame, "speaker", seed=3)
    whole = done.assign(**{name: "" for name in COLUMNS if name not in done})
    Manifest(whole, pd.DataFrame()).write(tmp_path)
    file = str(tmp_path / "manifest.csv")
    again = split(frame, "speaker", reuse=file)
    pd.testing.assert_series_equal(again["split"], done["split"], check_dtype=False)
    with pytest.raises(ValueError, match=r"30 of 330 utterances are not in it"):
        split(table({"ravdess": 11}), reuse=file)
    frame.loc[5, "content"] = "changed"
    with pytest.raises(ValueError, match=r"1 of 300 utterances were other recordings"):
        split(frame, reuse=file)


def test_a_speaker_split_needs_to_know_who_speaks():
    frame = table({"my": 5})
    frame.loc[3, "speaker"] = ""
    for kind in ("speaker", "folds"):
        with pytest.raises(ValueError, match="1 utterances of my have no speaker"):
            split(frame, kind)
    frame["speaker"] = ""
    assert find_leaks(split(frame)).speakers == ()


def test_a_class_that_was_asked_for_must_be_in_every_part():
    frame = table({"ravdess": 10})
    empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    with pytest.raises(ValueError, match="train part without calm"):
        assign(Manifest(frame, empty), SplitConfig(), ["sad", "calm"])


@pytest.mark.parametrize("seed", range(5))
def test_synthetic_speakers_of_the_quickstart_are_unseen(quick_config, tmp_path, seed):
    from ser.preparation import prepare

    config = quick_config(tmp_path, f"split.seed={seed}")
    utterances = prepare(config.data, config.split).utterances
    seen = set(utterances.loc[utterances["split"] == "train", "speaker"])
    assert seen.isdisjoint(utterances.loc[utterances["split"] == "test", "speaker"])
    assert utterances.loc[utterances["split"] == "test", "emotion"].nunique() == 8


def test_a_speaker_in_two_parts_fails_a_speaker_split_and_no_other():
    frame = table({"ravdess": 1}).assign(split="train")
    frame.loc[0, "split"] = "test"
    check_leaks(frame, SplitConfig())
    with pytest.raises(ValueError, match="ravdess/0"):
        check_leaks(frame, SplitConfig(kind=SplitKind.speaker))


def test_men_and_women_are_in_every_part_of_a_speaker_split():
    frame = table({"ravdess": 24})
    number = frame["speaker"].str.rpartition("/")[2].astype(int)
    frame["gender"] = number.map(lambda index: "male" if index < 12 else "female")
    for seed in range(5):
        done = split(frame, "speaker", seed=seed, test=0.2)
        women = done.assign(woman=done["gender"] == "female").groupby("split")["woman"].mean()
        assert women.between(0.4, 0.6).all()


def test_an_emotion_that_is_rare_in_one_corpus_only_is_split_with_the_others():
    frame = table({"ravdess": 10, "tess": 2})
    rare = frame.index[(frame["corpus"] == "tess") & (frame["emotion"] == "sad")][2:]
    done = split(frame.drop(rare))
    assert (done["corpus"] == "tess").sum() == 42


def test_a_single_emotion_is_refused():
    frame = table({"ravdess": 10})
    with pytest.raises(ValueError, match=r"one emotion only \(sad\)"):
        split(frame[frame["emotion"] == "sad"])


def test_a_split_that_does_not_hold_out_is_not_used_again_as_if_it_did(tmp_path):
    frame = table({"ravdess": 10, "savee": 4})
    done = split(frame, "corpus", held_out=["savee"])
    other = split(frame, "speaker")
    for number, each in enumerate((done, other)):
        whole = each.assign(**{name: "" for name in COLUMNS if name not in each})
        (tmp_path / str(number)).mkdir()
        Manifest(whole, pd.DataFrame()).write(tmp_path / str(number))
    files = [str(tmp_path / str(number) / "manifest.csv") for number in (0, 1)]
    again = split(frame, "corpus", held_out=["savee"], reuse=files[0])
    assert again["split"].tolist() == done["split"].tolist()
    with pytest.raises(ValueError, match=r"split\.held_out=\['savee'\], but split\.from="):
        split(frame, "corpus", held_out=["savee"], reuse=files[1])
