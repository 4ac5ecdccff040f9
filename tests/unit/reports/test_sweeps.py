import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ser.commands.main import app
from ser.errors import UserError
from ser.reports.sweeps import is_sweep, read_sweep


@pytest.fixture
def add_job(tmp_path):
    """Write a job with its overrides and validation score; the score "running" means none yet."""

    def add(name, *overrides, score, monitor="val/uar"):
        folder = tmp_path / "sweep" / str(name)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        if score != "running":
            content = {"checkpoint": None, "monitor": monitor, "score": score}
            (folder / "result.json").write_text(json.dumps(content))
        return folder.parent

    return add


@pytest.fixture
def grid(add_job):
    """Two learning rates with two seeds each; job 3 has the best score, the first rate the mean."""
    scores = [0.60, 0.64, 0.30, 0.70]
    jobs = [(lr, seed) for lr in ("1e-3", "1e-2") for seed in (1, 2)]
    folders = [
        add_job(place, "data=ravdess", f"model.lr={lr}", f"seed={seed}", score=score)
        for place, ((lr, seed), score) in enumerate(zip(jobs, scores, strict=True))
    ]
    return folders[-1]


def chosen_folder(sweep: Any) -> Path:
    return sweep.chosen.folder


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_seeds_are_grouped_and_the_best_mean_is_chosen(grid):
    sweep = read_sweep(grid)
    assert list(sweep.groups) == ["model.lr=1e-3", "model.lr=1e-2"]
    assert sweep.best == "model.lr=1e-3"
    assert chosen_folder(sweep) == grid / "1"
    spread = statistics.stdev([0.60, 0.64])
    assert sweep.tabulate().rows[0] == ["model.lr=1e-3", "0, 1", f"0.620 ± {spread:.3f} *"]


def test_compare_names_one_command_for_a_sweep(grid):
    done = run(grid)
    assert done.exit_code == 0
    [command] = [line for line in done.stdout.splitlines() if "ser evaluate" in line]
    assert command.strip() == f"ser evaluate ckpt={grid / '1'}"


def test_the_smallest_loss_is_best(add_job):
    add_job(0, "model.lr=1", score=0.9, monitor="val/loss")
    folder = add_job(1, "model.lr=2", score=0.4, monitor="val/loss")
    assert chosen_folder(read_sweep(folder)).name == "1"


@pytest.mark.parametrize("key", ["split.held_out", "data", "data.labels", "experiment"])
def test_jobs_on_different_data_are_not_compared(add_job, key):
    add_job(0, f"{key}=[tess]", score=0.9)
    folder = add_job(1, f"{key}=[savee]", score=0.4)
    done = run(folder)
    assert "[tess]" in done.stdout  # brackets are no markup
    assert "ser evaluate" not in done.stdout


def test_batch_sizes_are_compared(add_job):
    add_job(0, "data.batch_size=8", score=0.9)
    assert chosen_folder(read_sweep(add_job(1, "data.batch_size=4", score=0.4))).name == "0"


def test_failed_and_running_jobs_are_not_chosen(add_job):
    add_job(0, "model.lr=1", score=None)
    add_job(1, "model.lr=2", score=0.2)
    sweep = read_sweep(add_job(10, "model.lr=3", score="running"))
    assert [job.folder.name for job in sweep.jobs] == ["0", "1"]
    assert sweep.unfinished == 1
    assert chosen_folder(sweep).name == "1"
    assert sweep.tabulate().rows[0][-1] == "failed"


def test_a_run_is_no_sweep_and_a_sweep_without_results_is_an_error(add_job):
    folder = add_job(0, score="running")
    assert is_sweep(folder)
    assert not is_sweep(folder / "0")
    with pytest.raises(UserError):
        read_sweep(folder)


def test_a_sweep_is_not_mixed_with_other_runs(grid):
    assert isinstance(run(grid, grid / "0").exception, UserError)


def test_a_damaged_result_is_an_error_that_names_the_file(add_job):
    folder = add_job(0, "data=ravdess", score=0.5)
    (folder / "0" / "result.json").write_text('{"score": 0.')
    with pytest.raises(UserError, match=r"result\.json"):
        read_sweep(folder)
