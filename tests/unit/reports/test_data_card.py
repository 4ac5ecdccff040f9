from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser.config.data import DataConfig
from ser.config.split import SplitConfig, SplitKind
from ser.preparation.manifest import COLUMNS, CORPUS_COLUMNS, DROPPED_COLUMNS, Manifest
from ser.preparation.prepare import prepare
from ser.reports import data_card
from ser.reports import data_summary as card
from ser.reports.data_summary import DataCard


@pytest.fixture(scope="module")
def made(corpora: Path, cache_dir: Path) -> DataCard:
    data = DataConfig(synthetic=str(corpora), cache_dir=str(cache_dir))
    split = SplitConfig(kind=SplitKind.speaker)
    return DataCard(prepare(data, split), data, split)


def small(**changes: Any) -> DataCard:
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
    return DataCard(manifest, DataConfig(corpora=["tess"]), SplitConfig())


def test_counts_are_those_of_the_manifest():
    made = small()
    assert card.tabulate_corpora(made).rows == [["tess", "4", "0.00", "2", "2 female"]]
    assert card.tabulate_parts(made).rows == [["tess", "2 (1)", "1 (1)", "1 (1)"]]
    row = dict(zip(made.data.label_space, card.tabulate_emotions(made).rows[0][1:], strict=True))
    assert (row["sad"], row["happy"], row["calm"]) == ("2", "2", "0")
    assert card.tabulate_recordings(made).rows[0][1:4] == ["1.00", "2.50", "4.00"]
    assert card.tabulate_dropped(made).rows == [["silent", "1", "1"]]


def test_missing_files_and_classes_are_noticed():
    notices = card.find_notices(small())
    assert "5 of 2,800" in notices[0]
    assert "neutral" in notices[1]
    assert "data.labels=[happy,sad]" in notices[1]


def test_repairs_are_counted():
    made = small(
        channels=[2, 1, 1, 1], sample_rate=[48_000, 16_000, 16_000, 16_000], clipped=0.01,
        format=["AIFF PCM_16", "WAV PCM_16", "FLAC PCM_16", "WAV PCM_16"],
        note=["speaker OA read as OAF", "", "", ""],
    )  # fmt: skip
    repairs = card.list_repairs(made)
    assert [int(words.split()[0]) for words in repairs] == [1, 1, 2, 4, 1]
    assert "speaker OA read as OAF" in repairs[-1]


def test_each_corpus_has_its_column_of_files_left_out():
    made = small()
    lost = made.manifest.dropped
    lost = pd.concat([lost, lost.assign(corpus="lab")], ignore_index=True)
    made = DataCard(replace(made.manifest, dropped=lost), made.data, made.split)
    table = card.tabulate_dropped(made)
    assert table.columns == ["reason", "tess", "lab", "all"]
    assert table.rows == [["silent", "1", "1", "2"]]


def test_shared_speakers_and_recordings_are_counted():
    assert "1 of 2 (t)" in card.describe_overlap(small())[0]
    apart = small(speaker=list("stuv"), recording=["a", "b", "c", "a"])
    speakers, test, recordings = card.describe_overlap(apart)
    assert "0 of 4" in speakers
    assert "1" in test
    assert "1" in recordings
    assert card.describe_overlap(small(speaker="")) == []


def test_a_test_part_with_too_few_speakers_for_an_interval_is_noticed():
    two = small(speaker=list("stuv"), split=["train", "val", "test", "test"])
    three = small(speaker=list("stuv"), split=["train", "test", "test", "test"])
    assert len(card.describe_overlap(two)) == 2
    assert len(card.describe_overlap(three)) == 1


def test_sentences_that_give_the_label_away_are_reported():
    spoken = small(sentence=["1", "2", "1", "1"], emotion=["sad", "happy", "sad", "sad"])
    table = card.tabulate_sentences(spoken)
    assert table is not None
    assert "1.000" in table.rows[0]
    assert card.describe_sentences(spoken)
    assert card.tabulate_sentences(small()) is None
    assert card.describe_sentences(small()) == ""  # no sentence is known
    whole = small(sentence="1", split="train")
    assert card.describe_sentences(whole) == ""  # there is no test part


def test_agreement_is_reported_if_there_are_votes():
    assert "data.votes.cremad" in card.describe_ambiguity(small())
    words = card.describe_ambiguity(small(agreement=[1.0, 0.5, 0.0, np.nan]))
    assert "3 of 4" in words
    assert "33.3%" in words


def test_both_forms_are_written_with_the_manifest(made, tmp_path):
    data_card.write(made, tmp_path)
    names = {"corpora.csv", "data_card.html", "data_card.md", "dropped.csv", "manifest.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names
    markdown = (tmp_path / "data_card.md").read_text()
    assert "| mirror | 32 |" in markdown
    assert card.SYNTHETIC in markdown
    assert made.manifest.fingerprint in markdown


def test_the_page_opens_without_a_network_and_shows_its_figures(made, tmp_path, browser):
    data_card.write(made, tmp_path)
    page, problems = browser.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.append(request.url))
    page.goto((tmp_path / "data_card.html").as_uri())
    assert problems == [(tmp_path / "data_card.html").as_uri()]
    assert page.locator("figure svg").count() == 2 + len(made.corpora)
    assert page.locator("section#dropped table tbody tr").count() == 5
    page.close()


HOSTILE = "<img src=x onerror=alert(1)>$x|y[link](u)`"


def test_names_from_data_are_text_in_both_forms(tmp_path):
    corpora = pd.DataFrame(
        [("tess", HOSTILE, HOSTILE, "/t", 2800, HOSTILE, HOSTILE)], columns=pd.Index(CORPUS_COLUMNS)
    )
    made = small(corpus=HOSTILE, note=HOSTILE, format=HOSTILE)
    made = replace(made, manifest=replace(made.manifest, corpora=corpora))
    data_card.write(made, tmp_path)
    for name in ("data_card.md", "data_card.html"):
        assert "<img" not in (tmp_path / name).read_text()
    rows = [line for line in (tmp_path / "data_card.md").read_text().splitlines() if line.startswith("|") and "&lt;img" in line]  # fmt: skip
    assert rows
    assert "$x\\|y\\[link\\](u)\\`" in rows[0]


def test_terminal_output_shows_names_in_brackets(capsys):
    data_card.show(small(corpus="[bold]lab"))
    assert "[bold]lab" in capsys.readouterr().out


def test_votes_are_shown_in_the_terminal_only_if_there_are_any(capsys):
    data_card.show(small())
    assert "votes" not in capsys.readouterr().out
    data_card.show(small(agreement=[1.0, 0.5, 0.0, np.nan]))
    assert "3 of 4" in capsys.readouterr().out
