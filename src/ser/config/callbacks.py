"""Settings of the callbacks, typed. `_target_` names the class that is built from the rest."""

import re
from dataclasses import dataclass
from typing import Any

from ser.config.fields import setting
from ser.errors import require


def check_monitor(key: str, monitor: str | None) -> None:
    """Raise UserError for a name that is not a validation metric."""
    metric = r"val/(loss|uar|accuracy|macro_f1|(precision|recall|f1)/.+)"
    rule = "choose val/uar, val/accuracy, val/macro_f1, val/loss, val/recall/EMOTION, ..."
    require(monitor is None or re.fullmatch(metric, monitor) is not None, key, monitor, rule)


def emotion_of(monitor: str) -> str | None:
    """The emotion in the name of a metric such as val/recall/sad; None for other metrics."""
    found = re.fullmatch(r"val/(?:precision|recall|f1)/(.+)", monitor)
    return found[1] if found else None


def name_metric(monitor: str) -> str:
    """The name of a metric in tables and messages: `val UAR` for val/uar."""
    part, *name = monitor.split("/")
    name[:1] = [{"uar": "UAR", "macro_f1": "macro F1", "f1": "F1"}.get(name[0], name[0])]
    return f"{part} {' of '.join(name)}"


def mode_of(monitor: str) -> str:
    """Whether the best value of a metric is its "min" or its "max"."""
    return "min" if monitor.endswith("loss") else "max"


@dataclass
class CheckpointConfig:
    _target_: str = "lightning.pytorch.callbacks.ModelCheckpoint"
    dirpath: str | None = None  # checkpoints/ in output_dir
    filename: str = "best"
    monitor: str | None = setting(None, "metric of the best checkpoint; null: monitor")
    mode: str | None = setting(None, "min or max; null: min for a loss, else max")
    save_top_k: int = 1
    enable_version_counter: bool = False
    # After a validation only. `train` validates an epoch that max_steps or max_time cuts short.
    save_on_train_epoch_end: bool = False

    def __post_init__(self) -> None:
        check_monitor("callbacks.checkpoint.monitor", self.monitor)
        check_mode("callbacks.checkpoint.mode", self.mode)


@dataclass
class LastCheckpointConfig:
    """Separate from the best checkpoint: `save_last` of Lightning 2.6 copies the best one."""

    _target_: str = "ser.training.callbacks.last_checkpoint.LastCheckpoint"
    dirpath: str | None = None  # checkpoints/ in output_dir
    every_minutes: float | None = setting(
        10.0, "save last.ckpt every N minutes and after each validation; null: validations only"
    )
    every_steps: int | None = setting(None, "also save last.ckpt every N optimiser steps")

    def __post_init__(self) -> None:
        for key in ("every_minutes", "every_steps"):
            often = getattr(self, key)
            name = f"callbacks.last_checkpoint.{key}"
            require(often is None or 0 < often < 1e9, name, often, "above 0, or null")


@dataclass
class GuardsConfig:
    _target_: str = "ser.training.callbacks.guards.Guards"
    patience: int = setting(2, "warn after N validations in a row at chance level")

    def __post_init__(self) -> None:
        require(self.patience >= 1, "callbacks.guards.patience", self.patience, "at least 1")


@dataclass
class MonitoringConfig:
    _target_: str = "ser.training.callbacks.monitoring.Monitoring"
    worst_errors: int = setting(4, "validation errors to log with audio")

    def __post_init__(self) -> None:
        errors = self.worst_errors
        require(errors >= 0, "callbacks.monitoring.worst_errors", errors, "0 or more")


@dataclass
class EarlyStoppingConfig:
    _target_: str = "lightning.pytorch.callbacks.EarlyStopping"
    monitor: str | None = setting(None, "metric to watch; null: monitor")
    mode: str | None = setting(None, "min or max; null: min for a loss, else max")
    patience: int = setting(5, "stop after N validations without improvement")
    min_delta: float = setting(0.0, "minimum change that counts as an improvement")
    check_on_train_epoch_end: bool = False

    def __post_init__(self) -> None:
        check_monitor("callbacks.early_stopping.monitor", self.monitor)
        check_mode("callbacks.early_stopping.mode", self.mode)
        patience = self.patience
        require(patience >= 0, "callbacks.early_stopping.patience", patience, "0 or more")


@dataclass
class LearningRateConfig:
    _target_: str = "lightning.pytorch.callbacks.LearningRateMonitor"
    logging_interval: str = "step"


@dataclass
class ProgressBarConfig:
    _target_: str = "ser.training.callbacks.progress.ProgressBar"
    refresh_rate: int = setting(1, "update the bar every N batches")


@dataclass
class WeightAveragingConfig:
    """Validate and save an exponential moving average of the weights instead of the last ones."""

    _target_: str = "lightning.pytorch.callbacks.EMAWeightAveraging"
    decay: float = setting(0.99, "share of the average that is kept at each optimiser step")
    update_every_n_steps: int = setting(1, "optimiser steps between updates of the average")
    update_starting_at_step: int | None = setting(None, "first optimiser step to average; null: 0")
    use_buffers: bool = False  # statistics of the head are fixed

    def __post_init__(self) -> None:
        decay, every = self.decay, self.update_every_n_steps
        require(0 < decay < 1, "callbacks.weight_averaging.decay", decay, "above 0 and below 1")
        require(every >= 1, "callbacks.weight_averaging.update_every_n_steps", every, "1 or more")


def check_mode(key: str, mode: str | None) -> None:
    require(mode in (None, "min", "max"), key, mode, "min, max or null")


CALLBACKS = {
    "checkpoint": CheckpointConfig,
    "last_checkpoint": LastCheckpointConfig,
    "guards": GuardsConfig,
    "monitoring": MonitoringConfig,
    "early_stopping": EarlyStoppingConfig,
    "learning_rate": LearningRateConfig,
    "progress_bar": ProgressBarConfig,
}


OPTIONAL_CALLBACKS = {"weight_averaging": WeightAveragingConfig}


def default_callbacks() -> dict[str, Any]:
    """All callbacks with their default settings, as conf/callbacks/default.yaml has them."""
    return {name: kind() for name, kind in CALLBACKS.items()}
