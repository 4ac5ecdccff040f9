"""Comparing and adding up runs, from reports written by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ser import aggregate, comparison
from ser.comparison import Difference
from ser.intervals import Interval
from ser.report import SCHEMA
from ser.runs import read_run

NAMES = ("sad", "calm", "angry")


@pytest.fixture
def write_run(tmp_path):
    def write_run(
        name: str, *, right: float, seed: int = 0, speakers: range = range(20), val: float = 0.5, command: tuple[str, ...] = (),
    ) -> Path:  # fmt: skip
        generator = np.random.default_rng(seed)
        folder = tmp_path / name / "report"
        folder.mkdir(parents=True)
        rows = [(f"c/{s}_{i}", f"c/{s}", NAMES[i % 3]) for s in speakers for i in range(12)]
        table = pd.DataFrame(rows, columns=pd.Index(["id", "speaker", "emotion"]))
        other = table["emotion"].map({"sad": "calm", "calm": "angry", "angry": "sad"})
        table["predicted"] = table["emotion"].where(generator.random(len(table)) < right, other)
        table.to_csv(folder / "predictions.csv", index=False)
        content = {
            "schema": SCHEMA, "labels": NAMES, "part": "test", "synthetic": False,
            "checkpoint": f"{name}/checkpoints/best.ckpt", "val_uar": val, "config": {"command": ["data=all", *command]},
        }  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(content))
        return tmp_path / name

    return write_run


def test_a_run_is_read_back_with_its_scores_and_its_validation(write_run):
    run = read_run(write_run("a", right=0.7, val=0.66))
    table = run.predictions
    expected = balanced_accuracy_score(table["emotion"], table["predicted"])
    assert run.scores.uar == pytest.approx(expected)
    assert run.chosen_by == 0.66
    assert read_run(run.folder).scores == run.scores


def test_a_run_without_a_report_is_told_how_to_get_one(tmp_path):
    with pytest.raises(ValueError, match=r"evaluate\.py ckpt=.*best\.ckpt"):
        read_run(tmp_path)


def test_a_report_of_another_schema_is_refused(write_run):
    folder = write_run("a", right=0.7)
    file = folder / "report" / "metrics.json"
    file.write_text(file.read_text().replace(f'"schema": {SCHEMA}', '"schema": 1'))
    with pytest.raises(ValueError, match="is of schema 1, not 2"):
        read_run(folder)


def test_a_better_run_is_certain_and_an_equal_one_is_not(write_run):
    names = {"a": 0.5, "better": 0.8, "equal": 0.5}
    runs = [read_run(write_run(n, right=r, seed=i)) for i, (n, r) in enumerate(names.items())]
    found = comparison.compare(runs)
    better, equal = found.differences["better"], found.differences["equal"]
    assert better is not None
    assert equal is not None
    assert better.certain
    assert better.p < 0.001
    assert better.uar == pytest.approx(runs[1].scores.uar - runs[0].scores.uar)
    assert not equal.certain
    assert list(found.differences) == ["better", "equal"]


def test_only_common_utterances_are_compared(write_run):
    first = read_run(write_run("a", right=0.5, speakers=range(10)))
    second = read_run(write_run("b", right=0.5, speakers=range(5, 15)))
    third = read_run(write_run("c", right=0.5, speakers=range(30, 40)))
    difference = comparison.differ(first, second)
    assert difference is not None
    assert difference.utterances == 5 * 12
    assert comparison.differ(first, third) is None
    words = " ".join(comparison.compare([first, second]).warnings())
    assert "different utterances" in words


def test_choosing_by_test_is_warned_of(write_run):
    runs = [
        read_run(write_run("lucky", right=0.9, val=0.4)),
        read_run(write_run("solid", right=0.6, val=0.6)),
    ]
    words = " ".join(comparison.compare(runs).warnings())
    assert "Choose among runs by val UAR" in words
    assert "lucky is best here, but validation would choose solid" in words


def test_runs_are_named_by_what_tells_them_apart(write_run):
    runs = [
        read_run(write_run(f"{seed}", right=0.5, command=(f"seed={seed}", f"output_dir={seed}")))
        for seed in range(2)
    ]
    assert list(comparison.compare(runs).runs) == ["seed=0", "seed=1"]


def test_a_comparison_is_printed_and_written(write_run, tmp_path, capsys):
    runs = [read_run(write_run(name, right=0.6, seed=len(name))) for name in ("a", "bb")]
    found = comparison.compare(runs)
    comparison.show(found)
    assert "minus the first" in capsys.readouterr().out
    comparison.write(found, tmp_path / "out")
    html = (tmp_path / "out" / "comparison.html").read_text()
    assert "<svg" in html
    assert "http:" not in html.replace("http://www.w3.org", "")
    rows = [line for line in (tmp_path / "out" / "comparison.md").read_text().splitlines() if line.startswith("|")]  # fmt: skip
    assert len(rows) == 4
    assert len({row.count("|") for row in rows}) == 1


def test_folds_are_pooled_as_if_one_model_had_judged_all(write_run, tmp_path):
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


def test_seeds_judge_the_same_utterances_again_and_that_is_said(write_run, tmp_path):
    for seed in range(2):
        write_run(str(seed), right=0.6, seed=seed)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.repeated
    assert "what training leaves to chance" in whole.describe()


def test_an_aggregate_report_holds_table_picture_and_numbers(write_run, tmp_path):
    for seed in range(2):
        write_run(str(seed), right=0.6, seed=seed, command=(f"seed={seed}",))
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    aggregate.write(whole, tmp_path / "aggregate")
    content = json.loads((tmp_path / "aggregate" / "aggregate.json").read_text())
    assert content["mean"]["uar"]["mean"] == pytest.approx(whole.spreads["uar"].mean)
    assert set(content["runs"]) == {"seed=0", "seed=1"}
    text = (tmp_path / "aggregate" / "report.md").read_text()
    assert "| pooled |" in text
    assert "seed=1" in (tmp_path / "aggregate" / "report.html").read_text()
    # The aggregate's own folder is no run.
    assert len(aggregate.find_runs(tmp_path)) == 2


def test_nothing_to_add_up_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no judged runs"):
        aggregate.add_up(aggregate.find_runs(tmp_path))


def test_runs_without_speakers_are_added_up_without_intervals(write_run, tmp_path):
    for seed in range(2):
        folder = write_run(str(seed), right=0.6, seed=seed)
        file = folder / "report" / "predictions.csv"
        pd.read_csv(file).assign(speaker="").to_csv(file, index=False)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.intervals == {}
    aggregate.write(whole, tmp_path / "aggregate")
    assert "not known" in (tmp_path / "aggregate" / "report.md").read_text()


def test_equal_draws_make_no_difference_certain():
    assert not Difference(9, 0.5, Interval(0.5, 0.5), 0.01).certain
    assert Difference(9, 0.5, Interval(0.4, 0.6), 0.01).certain


def test_scores_of_another_part_are_called_so(write_run):
    first, second = write_run("a", right=0.9, val=0.4), write_run("b", right=0.5, val=0.6)
    for folder, part in ((first, "val"), (second, "val")):
        file = folder / "report" / "metrics.json"
        file.write_text(file.read_text().replace('"part": "test"', f'"part": "{part}"'))
    assert comparison.compare([read_run(first), read_run(second)]).warnings() == []


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_damaged_report_is_one_sentence(write_run, content):
    folder = write_run("a", right=0.7)
    (folder / "report" / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=r"metrics\.json is damaged"):
        read_run(folder)


def test_a_run_that_is_not_there_is_called_so(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        read_run(tmp_path / "typo")


def test_a_sweep_of_folds_and_seeds_is_not_called_one_of_seeds(write_run, tmp_path):
    for number, (fold, seed) in enumerate([(1, 0), (1, 1), (2, 0), (2, 1)]):
        speakers = range(10 * fold, 10 * fold + 10)
        command = (f"split.fold={fold}", f"seed={seed}")
        write_run(str(number), right=0.6, seed=number, speakers=speakers, command=command)
    whole = aggregate.add_up(aggregate.find_runs(tmp_path))
    assert whole.repeated
    assert not whole.seeds_alone
    assert "some on the same utterances" in whole.describe()


def relabel(folder: Path, labels: tuple[str, ...]) -> Path:
    file = folder / "report" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"labels": labels}))
    return folder


def test_classes_in_another_order_are_the_same_classes(write_run):
    one, two = write_run("a", right=0.5), write_run("b", right=0.8, seed=1)
    plain = comparison.compare([read_run(one), read_run(two)])
    turned = comparison.compare([read_run(one), read_run(relabel(two, NAMES[::-1]))])
    assert turned.differences == plain.differences
    assert aggregate.add_up([read_run(one), read_run(two)]).pooled.utterances == 480


def test_other_classes_are_compared_with_a_warning(write_run):
    one, two = write_run("a", right=0.5), relabel(write_run("b", right=0.8), (*NAMES, "fear"))
    found = comparison.compare([read_run(one), read_run(two)])
    assert found.differences == {"b": None}
    assert any("different classes" in words for words in found.warnings())
