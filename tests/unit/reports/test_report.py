"""Reports of made-up predictions."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ser.config.plain import from_plain
from ser.evaluation.robustness import Point, Robustness
from ser.metrics.calibration import fit_temperature
from ser.reports import context, metrics_json, report
from ser.reports import html as page_of
from ser.reports import robustness as robust
from ser.reports.analysis import analyse, group_values
from ser.reports.runs import read_predictions, read_run
from ser.reports.training_facts import is_restricted

HOSTILE = "=<img src=x onerror=alert(1)>$|[b]"


class Tags(HTMLParser):
    """The start tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def without_figures(result) -> report.Report:
    return report.Report(result, analyse(result), None, None, [])


def to_markdown(result) -> str:
    return page_of.render("report.md", **context.describe(result, analyse(result), None, None))


def to_html(result, *, restricted_audio: bool = False) -> str:
    words = context.describe(result, analyse(result), None, None)
    return report.write_page(without_figures(result), words, restricted_audio=restricted_audio)


def to_numbers(result) -> dict:
    """The content of metrics.json, written and read."""
    return json.loads(metrics_json.to_json(metrics_json.describe(result, analyse(result), None)))


def test_a_report_has_its_files_and_is_read_back(build_result, tmp_path, leftover_of):
    result, folder = build_result(), tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "old.png").touch()
    (folder / "logits.npy").touch()
    leftover_of(folder / "report").mkdir()
    report.write(result, folder)
    assert not (folder / "figures" / "old.png").exists()  # of an earlier report
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "report.html", "report.md", "metrics.json", "predictions.csv", "label_errors.csv", "figures",
        "logits.npy",
    }  # fmt: skip
    run = read_run(tmp_path / "report")
    assert run.scores == result.overall.scores
    assert run.command == ["seed=1"]


def test_names_from_data_are_text_everywhere(build_result, tmp_path, capsys):
    names = (HOSTILE, "calm", "$angry")
    result = build_result(names, corpus=HOSTILE, intensity=HOSTILE)
    report.write(result, tmp_path / "report", restricted_audio=True)
    report.show_scores(result, tmp_path / "report")
    assert HOSTILE in capsys.readouterr().out.replace("\n", "")
    assert "<img" not in (tmp_path / "report" / "report.md").read_text()
    page = (tmp_path / "report" / "report.html").read_text()
    assert not any(tag == "img" for tag, _ in Tags(page).found)
    assert read_run(tmp_path / "report").scores == result.overall.scores


def test_cells_that_begin_a_formula_are_escaped_in_tables_for_people(build_result, tmp_path):
    result = build_result(("=1+1", "-calm", "@angry"), corpus="+c")
    report.write_predictions(result.predicted, tmp_path / "predictions.csv")
    report.write_table(analyse(result).label_errors, tmp_path / "label_errors.csv")
    for name in ("predictions.csv", "label_errors.csv"):
        table = pd.read_csv(tmp_path / name, dtype=str, keep_default_na=False)
        assert set(table["emotion"]) <= {"'=1+1", "'-calm", "'@angry"}
        assert table["id"].str.startswith("'+c/").all()
    restored = read_predictions(tmp_path / "predictions.csv", metrics_json.SCHEMA)
    assert restored["emotion"].tolist() == result.predicted.utterances["emotion"].tolist()


@pytest.mark.slow
def test_a_report_that_fails_leaves_the_previous_one(build_result, tmp_path, monkeypatch):
    folder = tmp_path / "report"
    report.write(build_result(), folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fail(*args: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.metrics_json, "describe", fail)
    with pytest.raises(OSError, match="No space left"):
        report.write(build_result(("x", "y")), folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def robustness() -> Robustness:
    return Robustness(10, Point(0, 0.5, 0.6), {"noise": [Point(30, 0.4, 0.5), Point(0, 0.2, 0.3)]})


def test_robustness_is_printed_if_it_was_measured(build_result, tmp_path, capsys):
    result = build_result()
    report.show_scores(result, tmp_path)
    assert "perturbation" not in capsys.readouterr().out
    report.show_scores(replace(result, robustness=robustness()), tmp_path)
    printed = capsys.readouterr().out
    assert all(number in printed for number in ("0.500", "0.400", "0.200"))


@pytest.mark.slow
def test_robustness_stays_until_the_checkpoint_changes(build_result, tmp_path):
    folder, result = tmp_path / "report", build_result()
    report.write(replace(result, robustness=robustness()), folder)
    stored = json.loads((folder / "metrics.json").read_text())["robustness"]
    assert stored["curves"]["noise"][1] == {"level": 0, "uar": 0.2, "accuracy": 0.3}
    assert (folder / "robustness" / "noise.svg").is_file()
    report.write(result, folder)  # without measuring again
    assert json.loads((folder / "metrics.json").read_text())["robustness"] == stored
    assert "## Robustness" in (folder / "report.md").read_text()
    file = folder / "robustness" / "robustness.json"
    earlier = json.loads(file.read_text())
    for key in ("precision", "speeds", "utterances_sha256"):  # which earlier versions do not have
        del earlier["measured_on"][key]
    file.write_text(json.dumps(earlier))
    assert robust.find(result, folder) is not None
    for other in ({"speeds": (0.9, 1.0)}, {"precision": "bf16"}):
        assert robust.find(replace(result, **other), folder) is None
    result.checkpoint.write_bytes(b"other weights")
    report.write(result, folder)
    assert json.loads((folder / "metrics.json").read_text())["robustness"] is None
    assert "Robustness" not in (folder / "report.md").read_text()
    assert not (folder / "robustness").exists()


def audio_in(page: str) -> list[str | None]:
    return [attributes["data-id"] for tag, attributes in Tags(page).found if tag == "audio"]


def test_audio_of_restricted_corpora_is_left_out_unless_asked_for(build_result):
    result = build_result()
    page = to_html(result)
    assert audio_in(page) == []
    assert "CC BY-NC-ND 4.0" in page[page.index('id="errors"') : page.index('id="suspects"')]
    assert audio_in(to_html(result, restricted_audio=True)) == ["tess/1"]
    assert audio_in(to_html(replace(result, synthetic=True))) == ["tess/1"]


@pytest.mark.parametrize(
    ("licence", "restricted"),
    [
        ("CC BY-NC-ND 4.0", True),
        ("research use, by registration with the authors", True),
        ("CC BY-NC-SA 4.0", False),
        ("Open Database License (ODbL) 1.0", False),
        ("LANDED", False),
        ("", False),
    ],
)
def test_licences_that_forbid_passing_on(licence, restricted):
    assert is_restricted(licence) == restricted


def test_the_cells_of_the_confusion_matrix_open_their_utterances(build_result, browser):
    result = build_result()
    page = browser.new_page()
    page.set_content(to_html(result))
    cell = page.locator('button[data-cell="0-1"]')
    confusion = result.overall.scores.confusion[0]
    assert float(cell.inner_text()) == pytest.approx(100 * confusion[1] / sum(confusion), abs=0.05)
    cell.click()
    shown = page.locator("#cell li").all_inner_texts()
    assert len(shown) == min(6, confusion[1])
    predicted = result.predicted
    rows = (predicted.labels == 0) & (predicted.predictions == 1)
    best = predicted.utterances["id"][rows].iloc[predicted.probabilities[rows].max(axis=1).argmax()]
    assert f"{best} (" in shown[0]
    page.locator("#counts").check()
    assert cell.inner_text() == str(confusion[1])
    page.close()


def test_tables_sort_by_a_click(build_result, browser):
    page = browser.new_page()
    page.set_content(to_html(build_result()))
    table = page.locator("section#suspects table")
    heading = table.locator("thead th button").nth(3)
    for expected in ("ascending", "descending"):
        heading.click()
        assert table.locator("thead th").nth(3).get_attribute("aria-sort") == expected
        values = [float(text) for text in table.locator("tbody td:nth-child(4)").all_inner_texts()]
        assert values == sorted(values, reverse=expected == "descending")
    page.close()


def test_gaps_and_further_groups_are_reported(build_result):
    speakers = np.arange(360) % 12
    ages = np.where(speakers % 4 < 2, 25.0, 64.0)
    result = build_result(intensity=np.where(np.arange(360) % 24 < 12, "low", "high"), age=ages)
    found = analyse(result)
    assert set(found.groups) == {"intensity", "age"}
    assert list(found.groups["age"]) == ["20 to 29", "60 to 69"]
    assert [gap.group for gap in found.gaps["intensity"]] == ["high"]
    content = to_numbers(result)
    assert content["gaps"]["intensity"][0]["p"] is not None
    assert content["groups"]["intensity"]["low"]["utterances"] == 90
    assert "intensity: high" in to_markdown(result)


def test_the_worst_tenth_of_the_speakers(build_result):
    assert analyse(build_result()).worst is None  # six speakers have no tenth
    result = build_result(speaker=[f"s{row // 12 % 30}" for row in range(360)])
    found = analyse(result).worst
    assert found is not None
    uars = sorted((row.uar, name) for name, row in result.speakers.items())[:3]
    assert found.uar == pytest.approx(np.mean([uar for uar, _ in uars]))


def test_sentences_that_give_the_label_away_are_noticed(build_result):
    result = build_result()
    table = result.manifest.utterances
    said = table["emotion"]
    away = build_result(sentence=said)
    content = to_numbers(away)["sentences"]
    assert content["uar_from_sentence"] == 1
    assert list(content["kinds"]) == ["one emotion"]
    assert "1.000 (chance" in to_markdown(away).split("## Confusion")[0]
    assert analyse(build_result(sentence="")).sentences is None


def test_listeners_are_the_human_ceiling(build_result):
    result = build_result(agreement=0.8, perceived="sad")
    content = to_numbers(result)["listeners"]
    assert content["human_uar"] == pytest.approx(1 / 3)
    assert content["agreement"] == pytest.approx(0.8)
    assert "## Listeners" in to_markdown(result)


def test_labels_of_the_training_part_are_not_reviewed(build_result):
    assert len(analyse(build_result()).label_errors)
    assert analyse(replace(build_result(), part="train")).label_errors.empty


def test_how_the_temperature_was_chosen_is_reported(build_result):
    result = build_result()
    logits, labels = 4 * result.predicted.logits, result.predicted.labels
    fit = fit_temperature(logits, labels, np.arange(len(labels)) % 6)
    assert fit.kept
    fitted = replace(result, predicted=replace(result.predicted, fit=fit))
    content = to_numbers(fitted)
    assert content["temperature_fit"]["by"] == "speaker"
    assert content["temperature_fit"]["folds"] == 6
    assert "6 speakers" in to_markdown(fitted)


def test_three_speakers_have_an_interval_and_two_do_not(build_result, tmp_path, capsys):
    few = build_result(speaker=[f"s{row % 2}" for row in range(360)])
    report.show_scores(few, tmp_path / "report")
    for text in (capsys.readouterr().out, to_markdown(few), to_html(few)):
        assert few.overall.no_interval in text
    assert build_result(speaker=[f"s{row // 12 % 3}" for row in range(360)]).overall.intervals


def test_the_notice_of_the_ai_act_is_in_both_forms(build_result):
    for text in (to_html(build_result()), to_markdown(build_result())):
        assert "2024/1689" in text
        assert "Article 50(3)" in text


@pytest.mark.slow
def test_a_model_from_elsewhere_is_not_described_by_the_run_whose_data_it_is_evaluated_on(
    build_result, tmp_path
):
    own = build_result()
    text = to_markdown(replace(own, foreign_model=True))
    assert "not known" in text
    assert "ser train" in to_markdown(own)
    assert "ser train" not in text
    assert "Training manifest" in to_markdown(own)
    assert "Training manifest" not in text
    report.write(replace(own, foreign_model=True, robustness=robustness()), tmp_path / "report")


def test_a_resumed_run_names_the_command_of_the_whole_training(build_result):
    result = build_result()
    settings = {"output_dir": "x", "command": ["seed=1", "ckpt=last.ckpt"]}
    resumed = replace(result.metadata, config=from_plain(settings))
    lines = to_markdown(replace(result, metadata=resumed)).splitlines()
    assert "ser train seed=1" in lines
    assert any(
        line.startswith("#") and line.endswith("ser train seed=1 ckpt=last.ckpt") for line in lines
    )


def test_a_poor_model_suspects_no_label(build_result):
    result = replace(build_result(), val_uar=0.9)
    assert context.describe(result, analyse(result), None, None)["suspects"] is not None
    poor = replace(result, val_uar=0.6)  # of three classes, halfway is 2/3
    assert context.describe(poor, analyse(poor), None, None)["suspects"] is None


def test_an_impossible_age_is_unknown():
    ages = pd.Series(["25", "64", "0", "", "-5", "500", "1e30", "99999999999999999999", "old"])
    expected = ["20 to 29", "60 to 69", "0 to 9", "", "", "", "", "", ""]
    assert group_values(ages, decades=True).tolist() == expected
