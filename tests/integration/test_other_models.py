"""Ensembles, the acoustic baseline and classifiers from elsewhere, evaluated like one run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ser import Predictor
from ser.commands import evaluate
from ser.commands.main import app
from ser.config.evaluate import EvaluateConfig
from ser.errors import UserError
from ser.inference.ensemble import Ensemble
from ser.inference.load import load_trained
from ser.reports import report
from ser.reports.runs import read_run
from ser.training.train import train


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=True)


def stop(*_: Any) -> None:
    raise RuntimeError


def read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def runs(quick_config, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs on one split: other seeds, soft thresholds and an auxiliary task."""
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("run")
        options = [f"seed={seed}", "trainer.max_steps=6", "split=stratified"]
        options += ["model.abstain_error=0.9", "model.auxiliary={gender: 0.1}"]
        train(quick_config(folder, *options))
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def ensemble(runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble") / "both"
    done = invoke("ensemble", *runs, "--output", folder)
    assert done.exit_code == 0, done.output
    return folder


def test_a_member_that_is_named_twice_is_refused(runs, tmp_path):
    done = invoke(
        "ensemble", runs[0], f"{runs[0]}/checkpoints/best.ckpt", "--output", tmp_path / "x"
    )
    assert isinstance(done.exception, UserError)
    assert not (tmp_path / "x").exists()


def test_an_ensemble_predicts_the_mean_of_its_members(runs, ensemble, write_tone, tmp_path):
    clip = write_tone(tmp_path / "clip.wav", seconds=1.1)
    [together] = Predictor.from_checkpoint(ensemble, "cpu")([clip])
    alone = [Predictor.from_checkpoint(run, "cpu")([clip])[0] for run in runs]
    for label, value in together.probabilities.items():
        expected = np.mean([each.probabilities[label] for each in alone])
        assert value == pytest.approx(expected, abs=1e-5)


def test_an_ensemble_is_evaluated_on_the_split_of_its_members(ensemble):
    scores = evaluate.run(EvaluateConfig(ckpt=str(ensemble)))
    [report] = ensemble.glob("report*")
    metrics = read_metrics(report)
    assert metrics["overall"]["uar"] == pytest.approx(scores.uar)
    assert metrics["part"] == "test"


def test_the_split_of_an_exported_member_is_not_known(runs, tmp_path):
    exported = tmp_path / "exported"
    assert invoke("export", runs[1], "--to", "hf", "--output", exported).exit_code == 0
    Ensemble((str(runs[0]), str(exported)), (0.5, 0.5)).write(tmp_path / "both")
    with pytest.raises(UserError, match="not all checkpoints"):
        evaluate.run(EvaluateConfig(ckpt=str(tmp_path / "both")))


@pytest.mark.slow
@pytest.mark.slow
def test_the_report_of_an_ensemble_names_its_members(ensemble, runs):
    evaluate.run(EvaluateConfig(ckpt=str(ensemble)))
    [report] = ensemble.glob("report*")
    content = json.loads((report / "metrics.json").read_text())
    assert len(content["ensemble"]) == len(runs)
    assert content["config"] is None
    text = (report / "report.md").read_text()
    assert "ser ensemble" in text
    assert "ser train" not in text
    assert read_run(report).command[0] == f"ensemble of {len(runs)}"


def test_raw_probabilities_of_an_ensemble_have_no_temperature(ensemble, runs):
    clip = (np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32), 16_000)
    alone = [Predictor.from_checkpoint(run, "cpu", raw=True)([clip])[0] for run in runs]
    expected = np.mean([list(each.probabilities.values()) for each in alone], axis=0)
    [found] = Predictor.from_checkpoint(ensemble, "cpu", raw=True)([clip])
    np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-5)
    changed: Any = load_trained(ensemble)
    changed.network.temperatures = [2.0] * len(runs)
    [unchanged] = Predictor(changed, "cpu", raw=True)([clip])
    assert unchanged.probabilities == pytest.approx(found.probabilities, abs=1e-5)


@pytest.mark.slow
def test_an_ensemble_is_exported_to_onnx_and_not_to_transformers(ensemble, tmp_path):
    pytest.importorskip("onnxscript")
    done = invoke("export", ensemble, "--to", "onnx", "--output", tmp_path / "onnx")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "onnx" / "onnx" / "model.onnx").is_file()
    done = invoke("export", ensemble, "--to", "hf", "--output", tmp_path / "hf")
    assert isinstance(done.exception, UserError)


@pytest.mark.slow
def test_a_classifier_from_elsewhere_is_evaluated_on_the_split_of_a_run(runs, tmp_path):
    """An export of the second run on the split of the first one, which is the same."""
    done = invoke("export", runs[1], "--to", "hf", "--output", tmp_path / "theirs")
    assert done.exit_code == 0, done.output
    config = EvaluateConfig(
        ckpt=str(tmp_path / "theirs"), data_from=str(runs[0]), output_dir=str(tmp_path / "report")
    )
    scores = evaluate.run(config)
    expected = evaluate.run(EvaluateConfig(ckpt=str(runs[1])))
    assert scores.uar == pytest.approx(expected.uar)
    with pytest.raises(UserError, match="data_from"):
        evaluate.run(EvaluateConfig(ckpt=str(tmp_path / "theirs")))


@pytest.mark.slow
def test_the_baseline_writes_the_same_report(corpora, cache_dir, tmp_path, monkeypatch):
    options = ["data=synthetic", "split=stratified", f"data.synthetic={corpora}"]
    output = tmp_path / "baseline"
    command = (
        "baseline", *options, f"data.cache_dir={cache_dir}", "--output", output,
        "--classifier", "logistic",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(report, "write", stop)
        assert isinstance(invoke(*command).exception, RuntimeError)
    assert not any(tmp_path.iterdir())  # so it can be started again
    done = invoke(*command)
    assert done.exit_code == 0, done.output
    metrics = read_metrics(output / "report")
    assert metrics["checkpoint"] == str(output / "baseline.json")
    page = (output / "report" / "report.md").read_text()
    [shown] = re.findall(r"^ser baseline .*$", page, re.MULTILINE)
    assert {*map(str, command)} <= {*shlex.split(shown)}  # it can be pasted
    assert "random weights" not in page
    chance = metrics["overall"]["baselines"]["chance"]
    assert metrics["overall"]["uar"] > 2 * chance
    assert json.loads((output / "baseline.json").read_text())["classifier"].startswith("logistic")
    again = invoke("baseline", *options, "--output", output)
    assert isinstance(again.exception, UserError)


def test_a_threshold_is_kept_in_the_checkpoint_and_used(runs, write_tone, tmp_path):
    predictor = Predictor.from_checkpoint(runs[0], "cpu")
    if predictor.threshold is None:
        pytest.skip("no threshold reaches the error rate in this short run")
    assert 0 < predictor.threshold < 1
    predictor.threshold = 1.1
    clip = write_tone(tmp_path / "clip.wav", seconds=1.1)
    [prediction] = predictor([clip])
    assert prediction.emotion is None
    assert prediction.as_plain()["abstained"] is True
