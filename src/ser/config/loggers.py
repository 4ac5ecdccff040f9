"""Settings of the experiment loggers, typed. `_target_` names the class to build."""

from dataclasses import dataclass
from typing import Any

from ser.config.fields import setting


@dataclass
class TensorBoardConfig:
    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    save_dir: str | None = setting(None, "folder of the log; null: output_dir")
    name: str = "tensorboard"
    version: str = ""
    default_hp_metric: bool = False


@dataclass
class CsvConfig:
    _target_: str = "lightning.pytorch.loggers.CSVLogger"
    save_dir: str | None = setting(None, "folder of the log; null: output_dir")
    name: str = "csv"
    version: str = ""


@dataclass
class WandbConfig:
    _target_: str = "lightning.pytorch.loggers.WandbLogger"
    save_dir: str | None = setting(None, "folder of the local files; null: output_dir")
    project: str = setting("speech-emotion", "Weights & Biases project")
    name: str | None = setting(None, "name of the run; null: chosen by Weights & Biases")
    offline: bool = setting(False, "write local files only; `wandb sync` uploads them later")


@dataclass
class MlflowConfig:
    _target_: str = "lightning.pytorch.loggers.MLFlowLogger"
    experiment_name: str = setting("speech-emotion", "MLflow experiment")
    run_name: str | None = setting(None, "name of the run; null: chosen by MLflow")
    tracking_uri: str | None = setting(
        None, "address of the tracking server; null: a database in output_dir"
    )
    artifact_location: str | None = setting(
        None, "folder of figures; null: that of the server, or mlflow/ in output_dir"
    )


@dataclass
class TrackioConfig:
    _target_: str = "ser.training.loggers.TrackioLogger"
    project: str = setting("speech-emotion", "trackio project")
    name: str | None = setting(None, "name of the run; null: chosen by trackio")


LOGGERS = {
    "tensorboard": TensorBoardConfig,
    "csv": CsvConfig,
    "wandb": WandbConfig,
    "mlflow": MlflowConfig,
    "trackio": TrackioConfig,
}


def default_loggers() -> dict[str, Any]:
    return {"tensorboard": TensorBoardConfig()}
