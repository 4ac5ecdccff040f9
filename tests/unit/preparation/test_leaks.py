import pandas as pd
import pytest

from ser.config.split import SplitConfig, SplitKind
from ser.errors import UserError
from ser.preparation.leaks import Leaks, check_leaks, find_leaks, warn_of_sentences
from ser.preparation.manifest import COLUMNS, Manifest


def test_leaks_are_found(table):
    frame = table({"ravdess": 2}).iloc[[0, 1, 30]].assign(split=["train", "test", "val"])
    assert find_leaks(frame) == Leaks(speakers=("ravdess/0",), recordings=())
    frame["recording"] = "same"
    assert find_leaks(frame).recordings == ("same",)


def test_copies_of_another_speaker_fail_a_speaker_split_only(table, split):
    frame = table({"ravdess": 10})
    frame.loc[frame["id"].str.endswith("/sad/0"), "recording"] = "same"
    with pytest.raises(UserError, match=r" ~ ravdess/\d/sad/0"):
        split(frame, "speaker")
    assert find_leaks(split(frame)).recordings == ("same",)


def test_a_speaker_in_two_parts_fails_a_speaker_split_only(table):
    frame = table({"ravdess": 1}).assign(split="train")
    frame.loc[0, "split"] = "test"
    check_leaks(frame, SplitConfig())
    with pytest.raises(UserError, match="ravdess/0"):
        check_leaks(frame, SplitConfig(kind=SplitKind.speaker))


def test_a_corpus_whose_sentences_give_the_label_away_is_named_once(table, caplog):
    frame = table({"ravdess": 2, "savee": 2})
    savee = frame["corpus"] == "savee"
    frame = frame.assign(sentence="same", split=["train", "test"] * (len(frame) // 2))
    frame.loc[savee, "sentence"] = frame["emotion"]
    warn_of_sentences(frame)
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("savee: ")


@pytest.mark.parametrize(
    ("kind", "shared"),
    [("sentence", "sentences"), ("speaker_sentence", "speakers"), ("speaker", "speakers")],
)
def test_a_reused_split_is_checked_for_what_its_kind_promises(
    tmp_path, kind, shared, split, spoken
):
    frame = spoken(6)
    done = split(frame, "stratified")
    whole = done.assign(**{name: "" for name in COLUMNS if name not in done})
    Manifest(whole, pd.DataFrame()).write(tmp_path)
    with pytest.raises(UserError, match=f"leaks: .*{shared}"):
        split(frame, kind, manifest=str(tmp_path / "manifest.csv"))
