"""The experiment loggers, offline: what they store of scalars, hyperparameters and figures."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from lightning import Trainer

from ser.config.loggers import (
    CsvConfig,
    MlflowConfig,
    TensorBoardConfig,
    TrackioConfig,
    WandbConfig,
)
from ser.config.train import TrainConfig
from ser.errors import UserError
from ser.training.loggers import log_figure, log_hyperparameters, log_result, log_text
from ser.training.trainer import build_loggers


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Log one of everything with a logger of these settings, and return the logger."""
    monkeypatch.chdir(tmp_path)

    def log(settings: Any) -> Any:
        config = TrainConfig(
            output_dir=str(tmp_path / "run"), callbacks={}, logger={"it": settings}
        )
        trainer = Trainer(
            logger=build_loggers(config),
            accelerator="cpu",
            devices=1,
            default_root_dir=tmp_path,
            **dict.fromkeys(("enable_checkpointing", "enable_progress_bar"), False),
        )
        [logger] = trainer.loggers
        figure, axes = plt.subplots(figsize=(1, 1))
        axes.plot([0, 1])
        settings = {"model.lr": 0.25, "data.corpora": "tess"}
        log_hyperparameters(trainer, settings)
        logger.log_metrics({"train/loss": 2.5}, step=0)
        log_figure(trainer, "val/confusion", figure)
        log_text(trainer, "note", "**text**")
        log_result(trainer, settings, "val/uar", 0.5, {"model.lr"})
        logger.finalize("success")
        plt.close(figure)
        assert {path.name for path in tmp_path.iterdir()} <= {"run", "home"}  # nothing elsewhere
        return logger

    return log


def test_tensorboard(log, tmp_path):
    log(TensorBoardConfig())
    [file] = (tmp_path / "run" / "tensorboard").glob("events*")
    written = file.read_bytes()
    assert b"val/confusion" in written
    assert b"train/loss" in written
    assert b"model.lr" in written
    assert b"data.corpora" not in written


def test_csv(log, tmp_path):
    log(CsvConfig())
    [file] = (tmp_path / "run" / "csv").glob("**/metrics.csv")
    header, *rows = file.read_text().splitlines()
    assert {"train/loss", "best/val/uar"} <= set(header.split(","))
    assert rows


def test_mlflow(log, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    logger = log(MlflowConfig())
    client = mlflow.MlflowClient(logger.experiment.tracking_uri)
    data = client.get_run(logger.run_id).data
    assert data.params == {"model.lr": "0.25", "data.corpora": "tess"}
    assert data.metrics == {"train/loss": 2.5, "best/val/uar": 0.5}
    assert list((tmp_path / "run" / "mlflow").glob("**/val/confusion/*.png"))


def test_wandb(log, tmp_path):
    pytest.importorskip("wandb")
    logger = log(WandbConfig(offline=True))
    run = logger.experiment
    assert run.config["model.lr"] == 0.25
    assert run.summary["best/val/uar"] == 0.5
    run.finish()
    [folder] = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert list(folder.glob("files/media/images/val/*.png"))


def test_trackio(log, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "home"))  # read when it is imported
    trackio = pytest.importorskip("trackio")
    log(TrackioConfig(project="emotions", name="first"))
    [run] = trackio.Api().runs("emotions")
    assert run.config["model.lr"] == 0.25
    words = ["list", "metrics", "--project", "emotions", "--run", "first", "--json"]
    command = [sys.executable, "-m", "trackio.cli", *words]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {"train/loss", "best/val/uar"} <= set(json.loads(shown)["metrics"])
    assert list((tmp_path / "home").glob("media/**/*.png"))


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_missing_package_is_named(log, name, monkeypatch):
    settings = {
        "wandb": WandbConfig(offline=True),
        "mlflow": MlflowConfig(),
        "trackio": TrackioConfig(),
    }
    try:
        __import__(name)
    except ModuleNotFoundError:
        with pytest.raises(UserError, match=name):
            log(settings[name])
    else:
        pytest.skip(f"{name} is installed")
