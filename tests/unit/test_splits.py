import pandas as pd
import pytest

from ser.config import SplitConfig, SplitKind
from ser.manifest import DROPPED_COLUMNS, Manifest
from ser.splits import PARTS, Leaks, assign, check_leaks, find_leaks

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
    return frame.assign(gender="female", content=frame["id"])


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
    frame["content"] = "same"
    assert find_leaks(frame).recordings == ("same",)


def test_a_recording_in_two_parts_fails_the_split():
    frame = table({"ravdess": 10}).assign(content="same")
    with pytest.raises(ValueError, match="leaks"):
        split(frame)


@pytest.mark.parametrize("seed", range(5))
def test_synthetic_speakers_of_the_quickstart_are_unseen(quick_config, tmp_path, seed):
    from ser.data import prepare

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
