"""Comparing and aggregating runs, from reports written by hand and from one of version 0.1."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ser.errors import UserError
from ser.reports import aggregate, comparison
from ser.reports.comparison import Difference
from ser.reports.metrics_json import SCHEMA
from ser.reports.runs import read_run

NAMES = ("sad", "calm", "angry")
GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1"


def test_a_run_is_read_with_its_scores_and_its_validation(write_run):
    run = read_run(write_run("a", right=0.7, val=0.66))
    table = run.predictions
    expected = balanced_accuracy_score(table["emotion"], table["predicted"])
    assert run.scores.uar == pytest.approx(expected)
    assert run.val_uar == 0.66
    assert read_run(run.folder).scores == run.scores


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_report_of_version_0_1_is_read_and_compared(name):
    folder = GOLDEN / name
    content = json.loads((folder / "report" / "metrics.json").read_text())
    run = read_run(folder)
    assert content["schema"] == 2
    assert run.scores.uar == pytest.approx(content["overall"]["uar"])
    difference = comparison.differ(run, read_run(folder / "report"))
    assert difference is not None
    assert difference.uar == 0


def test_a_run_that_is_named_twice_is_refused(write_run):
    folder = write_run("a", right=0.5)
    with pytest.raises(UserError, match="twice"):
        comparison.compare([read_run(folder), read_run(folder / "report")])


def test_synthetic_clips_are_not_the_real_ones_of_their_names(write_run):
    real, other = (read_run(write_run(name, right=0.5)) for name in ("real", "synthetic"))
    found = comparison.compare([real, replace(other, synthetic=True)])
    assert found.differences == {"synthetic": None}
    assert any("different utterances" in words for words in found.warnings())


def test_different_utterances_are_counted(write_run):
    """The second run lacks every third utterance of the first."""
    first, second = (read_run(write_run(name, right=0.5)) for name in ("first", "second"))
    kept = [row for number, row in enumerate(second.predictions.index) if number % 3]
    found = comparison.compare([first, replace(second, predictions=second.predictions.loc[kept])])
    assert any(f" {len(kept)} of second" in words for words in found.warnings())


def test_a_run_without_a_report_says_how_to_get_one(tmp_path):
    with pytest.raises(ValueError, match=r"evaluate ckpt="):
        read_run(tmp_path)


@pytest.mark.parametrize("schema", [1, SCHEMA + 1])
def test_a_report_of_another_schema_is_refused(write_run, schema):
    folder = write_run("a", right=0.7)
    file = folder / "report" / "metrics.json"
    file.write_text(file.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {schema}'))
    with pytest.raises(ValueError, match=f"schema {schema}"):
        read_run(folder)


def test_escaped_cells_are_restored(write_run):
    folder = write_run("a", right=0.7)
    file = folder / "report" / "predictions.csv"
    table = pd.read_csv(file)
    table["id"] = ["'=1+1", "'-2", "'kept", *table["id"].tolist()[3:]]
    table.to_csv(file, index=False)
    assert read_run(folder).predictions.index[:3].tolist() == ["=1+1", "-2", "'kept"]


def test_a_better_run_is_certain_and_an_equal_one_is_not(write_run):
    names = {"a": 0.5, "better": 0.8, "equal": 0.5}
    runs = [read_run(write_run(n, right=r, seed=i)) for i, (n, r) in enumerate(names.items())]
    found = comparison.compare(runs)
    better, equal = found.differences["better"], found.differences["equal"]
    assert better is not None
    assert equal is not None
    assert better.certain
    assert better.p is not None
    assert better.p < 0.001
    assert better.uar == pytest.approx(runs[1].scores.uar - runs[0].scores.uar)
    assert better.interval is not None
    assert 0 < better.interval.low < better.uar < better.interval.high
    assert not equal.certain
    assert list(found.differences) == ["better", "equal"]


def test_two_speakers_have_neither_interval_nor_star(write_run, tmp_path, capsys):
    pair = [write_run(n, right=r, speakers=range(2)) for n, r in (("a", 0.2), ("b", 0.9))]
    found = comparison.compare([read_run(folder) for folder in pair])
    difference = found.differences["b"]
    assert difference is not None
    assert (difference.interval, difference.p, difference.certain) == (None, None, False)
    assert set(found.intervals.values()) == {None}
    comparison.show(found)
    comparison.write(found, tmp_path / "out")
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / "out" / "comparison.md").read_text()):
        assert "at least 3 speakers, and there are 2" in text


def test_only_common_utterances_are_compared(write_run):
    first = read_run(write_run("a", right=0.5, speakers=range(10)))
    second = read_run(write_run("b", right=0.5, speakers=range(5, 15)))
    third = read_run(write_run("c", right=0.5, speakers=range(30, 40)))
    difference = comparison.differ(first, second)
    assert difference is not None
    assert (difference.utterances, difference.speakers) == (5 * 12, 5)
    assert comparison.differ(first, third) is None
    words = " ".join(comparison.compare([first, second]).warnings())
    assert "different utterances" in words


def test_choosing_by_test_scores_is_warned_of(write_run):
    runs = [
        read_run(write_run("lucky", right=0.9, val=0.4)),
        read_run(write_run("solid", right=0.6, val=0.6)),
    ]
    words = comparison.compare(runs).warnings()
    assert any("val UAR" in text for text in words)
    assert any("lucky" in text and "solid" in text for text in words)


def test_runs_are_named_by_their_folders_and_described_by_the_options_that_differ(write_run):
    runs = [
        read_run(write_run(name, right=0.5, command=(f"seed={name}", f"output_dir={name}")))
        for name in ("first", "1")
    ]
    found = comparison.compare(runs)
    parent = runs[1].folder.parent.parent.name
    assert list(found.runs) == ["first", f"{parent}/1"]  # a number says little
    assert [row[1] for row in found.tabulate_runs().rows] == ["seed=first", "seed=1"]


def test_a_comparison_is_printed_and_written(write_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    options = ("split.held_out=[ravdess]", "split.held_out=[tess]")
    runs = [
        read_run(write_run(name, right=0.6, seed=len(name), command=(option,)))
        for name, option in zip(("a", "bb"), options, strict=True)
    ]
    found = comparison.compare(runs)
    comparison.show(found)
    printed = capsys.readouterr().out.replace("\n", "")
    assert "[ravdess]" in printed
    comparison.write(found, tmp_path / "out")
    html = (tmp_path / "out" / "comparison.html").read_text()
    assert "<svg" in html
    assert "http:" not in html.replace("http://www.w3.org", "")
    rows = [line for line in (tmp_path / "out" / "comparison.md").read_text().splitlines() if line.startswith("|")]  # fmt: skip
    assert len(rows) == 8  # two tables
    assert {row.count(" | ") for row in rows[:4]} == {9}
    assert {row.count(" | ") for row in rows[4:]} == {3}


@pytest.mark.parametrize(
    ("commands", "pooled"),
    [
        (("seed=0 model.lr=1", "seed=1 model.lr=1"), True),
        (("split.held_out=[tess] seed=0", "split.held_out=[savee] seed=1"), True),
        (("model.lr=1 seed=0", "model.lr=2 seed=0"), False),
        (("data=ravdess", "data=tess"), False),
    ],
)
def test_only_repetitions_are_pooled(write_run, tmp_path, commands, pooled):
    for number, command in enumerate(commands):
        write_run(str(number), right=0.5, seed=number, command=tuple(command.split()))
    assert aggregate.repeats(aggregate.find_runs(tmp_path)) == pooled


def test_folds_are_pooled(write_run, tmp_path):
    for fold in range(3):
        speakers = range(10 * fold, 10 * fold + 10)
        write_run(str(fold), right=0.5 + 0.1 * fold, seed=fold, speakers=speakers, command=(f"split.fold={fold}",))  # fmt: skip
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert list(whole.runs) == ["split.fold=0", "split.fold=1", "split.fold=2"]
    assert not whole.repeated
    uars = [run.scores.uar for run in whole.runs.values()]
    assert whole.spreads["uar"].mean == pytest.approx(np.mean(uars))
    assert whole.spreads["uar"].deviation == pytest.approx(np.std(uars, ddof=1))
    confusions = [np.array(run.scores.confusion) for run in whole.runs.values()]
    assert whole.pooled.confusion == np.sum(confusions, axis=0).tolist()
    assert whole.intervals["uar"].low < whole.pooled.uar < whole.intervals["uar"].high


def test_labels_are_reviewed_over_all_folds(write_run, tmp_path):
    for fold in range(2):
        folder = write_run(str(fold), right=0.9, seed=fold, speakers=range(9 * fold, 9 * fold + 9))
        file = folder / "report" / "predictions.csv"
        table = pd.read_csv(file)
        for name in NAMES:
            table[f"p_{name}"] = np.where(table["predicted"] == name, 0.9, 0.05)
        table.to_csv(file, index=False)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    found = aggregate.review_labels(whole)
    wrong = {u for run in whole.runs.values() for u in run.predictions.query("emotion != predicted").index}  # fmt: skip
    assert set(found["id"]) == wrong
    aggregate.write(whole, tmp_path / "aggregate")
    assert len(pd.read_csv(tmp_path / "aggregate" / "label_errors.csv")) == len(wrong)


def test_folds_that_differ_widen_the_interval_of_the_pool(write_run, tmp_path):
    """Speakers of a fold share its model, so they are not independent."""
    for fold, right in enumerate((0.3, 0.6, 0.9)):
        write_run(str(fold), right=right, seed=fold, speakers=range(10 * fold, 10 * fold + 10))
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    pooled = read_run(tmp_path / "0")
    together = pd.concat([run.predictions for run in whole.runs.values()])
    alone = aggregate.find_intervals(pooled.count(together))["uar"]
    assert whole.intervals["uar"].width > 2 * alone.width


def test_held_out_corpora_are_strata_and_no_folds(write_run, tmp_path):
    for place, (corpus, right) in enumerate((("a", 0.3), ("b", 0.6), ("c", 0.9))):
        write_run(str(place), right=right, seed=place, corpus=corpus)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.intervals["uar"].width < 0.1


def test_seeds_repeat_the_same_utterances(write_run, tmp_path):
    for seed in range(2):
        write_run(str(seed), right=0.6, seed=seed)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.repeated
    assert whole.only_seeds_differ
    assert whole.pooled.utterances == 2 * 240


def test_an_aggregate_report_has_table_figure_and_numbers(write_run, tmp_path, capsys):
    for seed in range(2):
        write_run(str(seed), right=0.6, seed=seed, command=(f"seed={seed}",))
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    aggregate.write(whole, tmp_path / "aggregate")
    aggregate.show(whole, tmp_path / "aggregate")
    assert "seed=1" in capsys.readouterr().out
    content = json.loads((tmp_path / "aggregate" / "aggregate.json").read_text())
    assert content["mean"]["uar"]["mean"] == pytest.approx(whole.spreads["uar"].mean)
    assert set(content["runs"]) == {"seed=0", "seed=1"}
    text = (tmp_path / "aggregate" / "report.md").read_text()
    assert "| pooled |" in text
    assert "seed=1" in (tmp_path / "aggregate" / "report.html").read_text()
    # The folder of the aggregate report is no run.
    assert len(aggregate.find_runs(tmp_path)) == 2


def test_without_runs_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no evaluated runs"):
        aggregate.add_up(aggregate.find_runs(tmp_path))


def test_runs_without_speakers_are_aggregated_without_intervals(write_run, tmp_path):
    for seed in range(2):
        folder = write_run(str(seed), right=0.6, seed=seed)
        file = folder / "report" / "predictions.csv"
        pd.read_csv(file).assign(speaker="").to_csv(file, index=False)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.intervals == {}
    aggregate.write(whole, tmp_path / "aggregate")
    assert "unknown" in (tmp_path / "aggregate" / "report.md").read_text()


@pytest.mark.parametrize(("p", "certain"), [(None, False), (0.05, False), (0.049, True)])
def test_a_star_needs_a_p_value(p, certain):
    assert Difference(9, 3, 0.5, None, p).certain == certain


def test_scores_of_the_validation_part_may_choose(write_run):
    first, second = write_run("a", right=0.9, val=0.4), write_run("b", right=0.5, val=0.6)
    for folder in (first, second):
        file = folder / "report" / "metrics.json"
        file.write_text(file.read_text().replace('"part": "test"', '"part": "val"'))
    assert comparison.compare([read_run(first), read_run(second)]).warnings() == []


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_damaged_report_is_a_user_error(write_run, content):
    folder = write_run("a", right=0.7)
    (folder / "report" / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=r"metrics\.json is damaged"):
        read_run(folder)


def test_a_missing_folder_is_a_user_error(tmp_path):
    with pytest.raises(ValueError, match="typo"):
        read_run(tmp_path / "typo")


def test_a_sweep_of_folds_and_seeds_is_not_one_of_seeds(write_run, tmp_path):
    for number, (fold, seed) in enumerate([(1, 0), (1, 1), (2, 0), (2, 1)]):
        speakers = range(10 * fold, 10 * fold + 10)
        command = (f"split.fold={fold}", f"seed={seed}")
        write_run(str(number), right=0.6, seed=number, speakers=speakers, command=command)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.repeated
    assert not whole.only_seeds_differ


def relabel(folder: Path, labels: tuple[str, ...]) -> Path:
    file = folder / "report" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"labels": labels}))
    return folder


def test_classes_in_another_order_are_the_same_classes(write_run):
    one, two = write_run("a", right=0.5), write_run("b", right=0.8, seed=1)
    plain = comparison.compare([read_run(one), read_run(two)]).differences["b"]
    turned = comparison.compare([read_run(one), read_run(relabel(two, NAMES[::-1]))])
    other = turned.differences["b"]
    assert plain is not None
    assert other is not None
    assert (other.uar, other.p) == (pytest.approx(plain.uar), plain.p)
    assert aggregate.add_up([read_run(one), read_run(two)]).pooled.utterances == 480


def test_other_classes_are_compared_with_a_warning(write_run):
    one, two = write_run("a", right=0.5), relabel(write_run("b", right=0.8), (*NAMES, "fear"))
    found = comparison.compare([read_run(one), read_run(two)])
    assert found.differences == {"b": None}
    assert any("different classes" in words for words in found.warnings())
    assert not any("in common" in words for words in found.warnings())


def test_a_speaker_with_other_names_in_the_second_run_is_compared(write_run):
    """Counts of both runs must have the same speakers in the same order."""
    one, two = write_run("a", right=0.5), write_run("b", right=0.8, seed=1)
    file = two / "report" / "predictions.csv"
    table = pd.read_csv(file)
    table["speaker"] = table["speaker"].str.replace("c/1", "c/z")
    table.sample(frac=1, random_state=0).to_csv(file, index=False)
    difference = comparison.differ(read_run(one), read_run(two))
    assert difference is not None
    assert difference.speakers == 20
    assert difference.certain


def test_a_deviation_of_zero_is_shown_and_an_unknown_one_is_not():
    assert aggregate.spread([0.5, 0.5]).describe() == "0.500 ± 0.000"
    assert aggregate.spread([0.5]).describe() == "0.500"
