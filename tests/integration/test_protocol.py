"""Several trainings as one protocol, each judged, added up at the end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ser.commands.training_job import run
from ser.reports import aggregate

ROOT = Path(__file__).parents[2]
PROTOCOLS = {
    "leave_one_corpus_out": ("split.held_out", 4),
    "speaker_folds": ("split.fold", 5),
    "seeds": ("seed", 5),
}


@pytest.mark.slow
def test_every_job_leaves_the_aggregate_of_the_jobs_so_far(quick_config, tmp_path):
    def go(seed: int) -> tuple[float, dict[str, Any]]:
        options = (f"seed={seed}", "evaluate=true", "trainer.max_steps=2")
        score = run(quick_config(tmp_path / str(seed), *options), sweep=tmp_path)
        return score, json.loads((tmp_path / "aggregate" / "aggregate.json").read_text())

    assert len(go(0)[1]["runs"]) == 1
    score, content = go(1)
    assert content["repeated"] is True
    runs = list(content["runs"].values())
    assert content["pooled"]["utterances"] == 2 * runs[0]["utterances"]
    assert (tmp_path / "aggregate" / "report.html").is_file()
    assert score == pytest.approx(
        runs[-1]["val_uar"]
    )  # a sweep is steered by validation, never by test


@pytest.mark.slow
def test_without_evaluate_the_test_part_is_not_looked_at(quick_config, tmp_path):
    run(quick_config(tmp_path / "0", "trainer.max_steps=2"), sweep=tmp_path)
    assert not list(tmp_path.rglob("metrics.json"))
    assert aggregate.find_runs(tmp_path) == []


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_one_command(name):
    key, jobs = PROTOCOLS[name]
    done = subprocess.run(
        [sys.executable, "train.py", f"experiment={name}", "--cfg", "all"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    composed = yaml.safe_load(done.stdout)
    assert composed["evaluate"] is True
    assert composed["hydra"]["mode"] == "MULTIRUN"
    values = composed["hydra"]["sweeper"]["params"][key]
    assert len(re.findall(r"\[\w+\]|\d+", values)) == jobs


@pytest.mark.slow
def test_leaving_one_corpus_out_tests_each_corpus_once(corpora, cache_dir, tmp_path):
    command = [sys.executable, "train.py", "experiment=[quickstart,leave_one_corpus_out]"]
    options = [f"data.synthetic={corpora}", f"output_dir={tmp_path}", "trainer.max_steps=2"]
    done = subprocess.run(
        [*command, *options, "split.test=0.1", "-m", "callbacks=quiet"],
        cwd=ROOT, env=os.environ | {"SER_CACHE": str(cache_dir)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "aggregate" / "aggregate.json").read_text())
    assert set(content["runs"]) == {
        f"split.held_out=[{name}]" for name in ("ravdess", "cremad", "tess", "savee")
    }
    assert content["repeated"] is False
    for job in range(4):
        metrics = json.loads((tmp_path / str(job) / "report" / "metrics.json").read_text())
        assert len(metrics["corpora"]) == 1
        assert metrics["exposure"]["seen_speakers"] == 0
