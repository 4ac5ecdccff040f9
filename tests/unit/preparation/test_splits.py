import re
from dataclasses import replace

import pandas as pd
import pytest

from ser.config.split import SplitConfig, SplitKind
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.preparation.leaks import find_leaks
from ser.preparation.manifest import COLUMNS, DROPPED_COLUMNS, Manifest
from ser.preparation.splits import assign


def test_the_default_is_70_20_10_of_every_emotion_and_corpus(table, split):
    done = split(table({"ravdess": 10, "cremad": 10}))
    shares = done.groupby(["corpus", "emotion"])["split"].value_counts(normalize=True)
    for part, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert (shares.xs(part, level="split") - share).abs().max() < 0.02


def test_a_speaker_split_has_the_configured_shares(table, split):
    done = split(table({"ravdess": 24, "cremad": 91}), "speaker")
    assert find_leaks(done).speakers == ()
    shares = done["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.1, abs=0.03)
    assert shares["val"] == pytest.approx(0.2, abs=0.04)


def test_an_emotion_missing_from_a_part_is_named(table, split):
    frame = table({"ravdess": 10})
    one = frame["speaker"] == "ravdess/0"
    frame.loc[one & (frame["emotion"] == "sad"), "emotion"] = "calm"
    with pytest.raises(UserError, match="part without calm"):
        split(frame, "speaker")


def test_an_emotion_with_too_few_utterances_is_named(table, split):
    frame = table({"ravdess": 4})
    frame.loc[frame.index[:2], "emotion"] = "calm"
    with pytest.raises(UserError, match="calm has fewer than 3 utterances"):
        split(frame)


def test_a_table_too_small_to_stratify_is_refused(table, split):
    with pytest.raises(UserError, match="split=stratified"):
        split(table({"ravdess": 1}, takes=3))


def test_splits_depend_on_the_seed_and_not_on_the_row_order(table, split):
    frame = table({"ravdess": 24})
    for kind in ("stratified", "speaker"):
        first = split(frame, kind, seed=1)
        pd.testing.assert_frame_equal(
            first, split(frame.sample(frac=1, random_state=3), kind, seed=1)
        )
        assert not first["split"].equals(split(frame, kind, seed=2)["split"])


def test_a_held_out_corpus_is_the_test_part(table, split):
    done = split(table({"ravdess": 10, "tess": 2, "savee": 4}), "corpus", held_out=["savee"])
    assert set(done.loc[done["split"] == "test", "corpus"]) == {"savee"}
    assert (done[done["corpus"] == "savee"]["split"] == "test").all()
    assert find_leaks(done).speakers == ()
    assert done[done["corpus"] == "tess"]["split"].eq("train").all()
    assert done[done["split"] == "val"]["speaker"].nunique() == 2


def test_a_training_corpus_of_two_speakers_is_validated_by_sentence(table, split):
    frame = table({"tess": 2, "savee": 4})
    frame["sentence"] = frame["id"].str.rsplit("/").str[-1]  # the number of the take
    done = split(frame, "corpus", held_out=["savee"]).set_index("split")
    train, val = (done[done["corpus"] == "tess"].loc[part] for part in ("train", "val"))
    assert not set(train["sentence"]) & set(val["sentence"])
    assert train["speaker"].nunique() == val["speaker"].nunique() == 2
    assert set(done.loc["test", "corpus"]) == {"savee"}


def test_unknown_speakers_are_not_split_by_sentence_instead(table, split):
    frame = table({"my": 2, "savee": 4})
    frame["sentence"] = frame["id"].str.rsplit("/").str[-1]
    frame.loc[frame["corpus"] == "my", "speaker"] = ""
    with pytest.raises(UserError, match="speaker of every utterance"):
        split(frame, "corpus", held_out=["savee"])


def test_an_unknown_held_out_corpus_is_named(table, split):
    with pytest.raises(UserError, match=r"split\.held_out=tess"):
        split(table({"ravdess": 10}), "corpus", held_out=["tess"])
    with pytest.raises(UserError, match=r"split\.held_out="):
        split(table({"ravdess": 10}), "corpus", held_out=["ravdess"])


def test_an_emotion_of_the_held_out_corpus_alone_is_refused(table, split):
    frame = table({"ravdess": 10, "cremad": 10})
    calm = (frame["corpus"] == "ravdess") & (frame["emotion"] == "sad")
    frame.loc[calm, "emotion"] = "calm"
    with pytest.raises(UserError, match=r"train part without calm.*data\.merge"):
        split(frame, "corpus", held_out=["ravdess"])


def test_a_table_split_follows_the_column(table, split):
    frame = table({"my": 3})
    parts = frame["speaker"].map({"my/0": "train", "my/1": "val", "my/2": "test"})
    pd.testing.assert_series_equal(
        split(frame.assign(split=parts), "table")["split"], parts.rename("split"), check_dtype=False
    )
    with pytest.raises(UserError, match="30 of 90 utterances"):
        split(frame.assign(split=parts.mask(parts == "val", "")), "table")


def test_a_split_can_be_reused(tmp_path, table, split):
    frame = table({"ravdess": 10})
    done = split(frame, "speaker", seed=3)
    whole = done.assign(**{name: "" for name in COLUMNS if name not in done})
    Manifest(whole, pd.DataFrame()).write(tmp_path)
    file = str(tmp_path / "manifest.csv")
    again = split(frame, "speaker", manifest=file)
    pd.testing.assert_series_equal(again["split"], done["split"], check_dtype=False)
    with pytest.raises(UserError, match=r"split\.manifest=.*30 of 330 utterances"):
        split(table({"ravdess": 11}), manifest=file)
    frame.loc[5, "content"] = "changed"
    with pytest.raises(UserError, match=r"split\.manifest=.*1 of 300 utterances"):
        split(frame, manifest=file)


def test_a_split_that_leaves_utterances_out_can_be_reused(tmp_path, spoken):
    frame = spoken()
    frame = frame.assign(**{name: "" for name in COLUMNS if name not in frame})
    empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    done = assign(Manifest(frame, empty), SplitConfig(kind=SplitKind.speaker_sentence))
    assert len(done.dropped)
    done.write(tmp_path)
    again = assign(Manifest(frame, empty), SplitConfig(manifest=str(tmp_path / "manifest.csv")))
    assert again.fingerprint == done.fingerprint
    assert set(again.dropped["id"]) == set(done.dropped["id"])


def test_a_configured_class_must_be_in_every_part(table):
    frame = table({"ravdess": 10})
    empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    with pytest.raises(UserError, match="train part without calm"):
        assign(Manifest(frame, empty), SplitConfig(), ["sad", "calm"])


def test_quickstart_test_speakers_are_not_in_training(quick_config, tmp_path):
    from ser.preparation.prepare import prepare

    config = quick_config(tmp_path)
    manifest = prepare(config.data, config.split)
    for seed in range(5):
        utterances = assign(manifest, replace(config.split, seed=seed), LABELS).utterances
        seen = set(utterances.loc[utterances["split"] == "train", "speaker"])
        assert seen.isdisjoint(utterances.loc[utterances["split"] == "test", "speaker"])
        assert utterances.loc[utterances["split"] == "test", "emotion"].nunique() == 8


def test_an_emotion_that_is_rare_in_one_corpus_is_stratified_with_the_others(table, split):
    frame = table({"ravdess": 10, "tess": 2})
    rare = frame.index[(frame["corpus"] == "tess") & (frame["emotion"] == "sad")][2:]
    done = split(frame.drop(rare))
    assert (done["corpus"] == "tess").sum() == 42


def test_a_single_emotion_is_refused(table, split):
    frame = table({"ravdess": 10})
    with pytest.raises(UserError, match="sad"):
        split(frame[frame["emotion"] == "sad"])


def test_a_reused_split_must_hold_out_the_corpora(tmp_path, table, split):
    frame = table({"ravdess": 10, "savee": 4})
    done = split(frame, "corpus", held_out=["savee"])
    other = split(frame, "speaker")
    for number, each in enumerate((done, other)):
        whole = each.assign(**{name: "" for name in COLUMNS if name not in each})
        (tmp_path / str(number)).mkdir()
        Manifest(whole, pd.DataFrame()).write(tmp_path / str(number))
    files = [str(tmp_path / str(number) / "manifest.csv") for number in (0, 1)]
    again = split(frame, "corpus", held_out=["savee"], manifest=files[0])
    assert again["split"].tolist() == done["split"].tolist()
    with pytest.raises(UserError, match=r"split\.held_out=\['savee'\]"):
        split(frame, "corpus", held_out=["savee"], manifest=files[1])


def test_unused_rows_of_a_table_are_in_no_part(table, split):
    frame = table({"my": 4})
    parts = {"my/0": "train", "my/1": "val", "my/2": "test", "my/3": "unused"}
    done = split(frame.assign(split=frame["speaker"].map(parts)), "table")
    assert set(done["speaker"]) == {"my/0", "my/1", "my/2"}


def test_unknown_parts_of_a_table_are_listed_with_those_that_are_known(table, split):
    frame = table({"my": 3})
    parts = frame["speaker"].map({"my/0": "train", "my/1": "val", "my/2": "2"})
    with pytest.raises(UserError, match=r"'2' .*train.*valid.*dev"):
        split(frame.assign(split=parts), "table")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"kind": SplitKind.folds, "scheme": "mine"}, "split.scheme=mine"),
        ({"kind": SplitKind.folds, "scheme": "emobox", "fold": 7}, "split.fold=7"),
        ({"kind": SplitKind.folds, "scheme": "tfds", "fold": 2}, "split.fold=2"),
        ({"scheme": "tfds"}, "split.scheme=tfds"),
        ({"kind": SplitKind.folds, "fold": 6}, "split.fold=6"),
        ({"kind": SplitKind.folds, "fold": 0}, "split.fold=0"),
        ({"kind": SplitKind.corpus}, "split.held_out"),
    ],
)
def test_split_settings_that_cannot_work_are_refused(options, key):
    with pytest.raises(UserError, match=re.escape(key)):
        SplitConfig(**options).check_files()
