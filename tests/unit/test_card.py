from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser import card
from ser.card import Card
from ser.data_config import DataConfig, SplitConfig, SplitKind
from ser.manifest import COLUMNS, CORPUS_COLUMNS, DROPPED_COLUMNS, Manifest
from ser.preparation import prepare


@pytest.fixture(scope="module")
def made(corpora: Path, cache_dir: Path) -> Card:
    data = DataConfig(synthetic=str(corpora), cache_dir=str(cache_dir))
    split = SplitConfig(kind=SplitKind.speaker)
    return Card(prepare(data, split), data, split)


def small(**changes: Any) -> Card:
    """Four utterances of two speakers of one corpus, with changes to its columns."""
    table = pd.DataFrame({name: [""] * 4 for name in COLUMNS}).assign(
        id=list("abcd"), corpus="tess", speaker=["s", "s", "t", "t"], gender="female",
        emotion=["sad", "happy"] * 2, agreement=np.nan, seconds=[1.0, 2.0, 3.0, 4.0],
        sample_rate=16_000, channels=1, format="WAV PCM_16", clipped=0.0, recording=list("abcd"),
        split=["train", "train", "val", "test"], path=[f"{name}.wav" for name in "abcd"],
    )  # fmt: skip
    dropped = pd.DataFrame(
        [("x.wav", "tess", "tess/x", "sad", "silent", "")], columns=pd.Index(DROPPED_COLUMNS)
    )
    corpora = pd.DataFrame(
        [("tess", "TESS", "local copy", "/t", 2800, "CC", "cite")],
        columns=pd.Index(CORPUS_COLUMNS),
    )
    manifest = Manifest(table.assign(**changes), dropped, corpora)
    return Card(manifest, DataConfig(corpora=["tess"]), SplitConfig())


def test_counts_are_those_of_the_manifest():
    made = small()
    assert card.tabulate_corpora(made).rows == [["tess", "4", "0.00", "2", "2 female"]]
    assert card.tabulate_parts(made).rows == [["tess", "2 (1)", "1 (1)", "1 (1)"]]
    row = dict(zip(made.data.label_space, card.tabulate_emotions(made).rows[0][1:], strict=True))
    assert (row["sad"], row["happy"], row["calm"]) == ("2", "2", "0")
    assert card.tabulate_recordings(made).rows[0][1:4] == ["1.00", "2.50", "4.00"]
    assert card.tabulate_dropped(made).rows == [["silent", "1", "1"]]


def test_what_is_missing_and_absent_is_said():
    notices = card.find_notices(small())
    assert notices[0] == "TESS is incomplete: 5 of 2,800 files."
    assert notices[1].startswith("No utterance of neutral, angry")


def test_repairs_are_counted():
    made = small(
        channels=[2, 1, 1, 1], sample_rate=[48_000, 16_000, 16_000, 16_000], clipped=0.01,
        format=["AIFF PCM_16", "WAV PCM_16", "FLAC PCM_16", "WAV PCM_16"],
        note=["speaker OA read as OAF", "", "", ""],
    )  # fmt: skip
    repairs = card.list_repairs(made)
    assert repairs == [
        "1 with several channels mixed to one",
        "1 resampled to 16,000 Hz",
        "2 of another format under the name .wav, told from the content",
        "4 touch the limit in places, and are kept",
        "1 named oddly: speaker OA read as OAF",
    ]


def test_each_corpus_of_a_table_has_its_column_of_what_was_left_out():
    made = small()
    lost = made.manifest.dropped
    lost = pd.concat([lost, lost.assign(corpus="lab")], ignore_index=True)
    made = Card(replace(made.manifest, dropped=lost), made.data, made.split)
    grid = card.tabulate_dropped(made)
    assert grid.columns == ["reason", "tess", "lab", "all"]
    assert grid.rows == [["silent", "1", "1", "2"]]


def test_overlap_is_said_in_words():
    assert card.describe_overlap(small())[0].startswith("1 of 2 speakers are in more than one part")
    apart = small(speaker=list("stuv"), recording=["a", "b", "c", "a"])
    assert card.describe_overlap(apart) == [
        "No speaker is in two parts.",
        "1 recordings are in more than one part, re-encoded or trimmed.",
    ]
    assert card.describe_overlap(small(speaker="")) == []


def test_ambiguity_is_judged_only_where_listeners_were_asked():
    assert card.describe_ambiguity(small()).startswith("Ambiguity was not judged")
    words = card.describe_ambiguity(small(agreement=[1.0, 0.5, 0.0, np.nan]))
    assert words == (
        "3 of 4 utterances were judged by listeners, who agree with the intended label of 33.3% of"
        " them."
    )


def test_both_forms_are_written_with_the_manifest(made, tmp_path):
    card.write(made, tmp_path)
    names = {"corpora.csv", "data_card.html", "data_card.md", "dropped.csv", "manifest.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names
    markdown = (tmp_path / "data_card.md").read_text()
    assert "| mirror | 32 |" in markdown
    assert "generated tones, nobody is speaking" in markdown
    assert made.manifest.fingerprint in markdown


def test_the_page_opens_without_a_network_and_shows_its_pictures(made, tmp_path, browser):
    card.write(made, tmp_path)
    page, problems = browser.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.append(request.url))
    page.goto((tmp_path / "data_card.html").as_uri())
    assert problems == [(tmp_path / "data_card.html").as_uri()]
    assert page.locator("figure svg").count() == 3
    assert page.locator("section#dropped table tbody tr").count() == 5
    page.close()
