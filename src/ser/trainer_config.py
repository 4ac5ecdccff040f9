"""The settings of Lightning's own classes, typed: trainer, callbacks, loggers.

`_target_` names the class that Hydra builds from the rest.
"""

import re
from dataclasses import dataclass
from typing import Any

from ser.setting import require, setting

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")


@dataclass
class TrainerConfig:
    """The arguments of `lightning.Trainer`; a test holds the names against its signature."""

    _target_: str = "lightning.Trainer"
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    devices: Any = setting("auto", "how many devices, a list of them, or auto")
    strategy: str = setting("auto", "auto, ddp, fsdp, ...")
    num_nodes: int = setting(1, "machines")
    precision: str = setting(
        "auto", "auto: bf16-mixed where the device has it; " + "|".join(PRECISIONS[1:])
    )
    max_epochs: int = setting(20, "-1 for no limit")
    min_epochs: int | None = setting(None, "train at least so many; null: none")
    max_steps: int = setting(-1, "optimiser steps; -1 for no limit")
    max_time: str | None = setting(None, "DD:HH:MM:SS, then stop; null: no limit")
    accumulate_grad_batches: int = setting(1, "batches added up before a step")
    gradient_clip_val: float | None = setting(1.0, "largest gradient norm")
    val_check_interval: Any = setting(None, "batches or share of an epoch; null: once an epoch")
    check_val_every_n_epoch: int = setting(1, "validate every so many epochs")
    limit_train_batches: Any = setting(None, "only so many batches, or that share; null: all")
    limit_val_batches: Any = setting(None, "only so many batches, or that share; null: all")
    fast_dev_run: Any = setting(False, "one batch of everything, nothing saved")
    num_sanity_val_steps: int = setting(0, "validation batches before training")
    log_every_n_steps: int = setting(10, "training scalars to TensorBoard")
    enable_progress_bar: bool = setting(True, "callbacks=quiet switches it off")
    enable_model_summary: bool = setting(False, "print the layers")
    deterministic: Any = setting(None, "true or warn: only reproducible kernels")
    benchmark: bool | None = setting(None, "let cuDNN search for kernels; null: Lightning decides")
    detect_anomaly: bool = setting(False, "slow: where a NaN comes from")
    profiler: str | None = setting(None, "simple, advanced, pytorch; null: none")
    use_distributed_sampler: bool = setting(False, "our sampler shares the work out itself")
    callbacks: Any = "${oc.dict.values:callbacks}"
    logger: Any = "${oc.dict.values:logger}"

    def __post_init__(self) -> None:
        for key, known in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            value = getattr(self, key)
            require(value in known, f"trainer.{key}", value, f"is none of {', '.join(known)}")
        require(
            valid_devices(self.devices),
            "trainer.devices",
            self.devices,
            "name a count from 1, -1 for all, a list of numbers, or auto",
        )
        for key in ("max_epochs", "max_steps"):
            limit = getattr(self, key)
            require(limit == -1 or limit >= 1, f"trainer.{key}", limit, "1 or more, or -1")
        every = self.check_val_every_n_epoch
        require(every >= 1, "trainer.check_val_every_n_epoch", every, "at least 1")
        interval = self.val_check_interval
        above = interval is None or (is_number(interval) and interval > 0)
        require(above, "trainer.val_check_interval", interval, "above 0, or null")
        for key in ("limit_train_batches", "limit_val_batches"):
            limit = getattr(self, key)
            rule = "a number of batches, or a share of them"
            require(limit is None or is_number(limit), f"trainer.{key}", limit, rule)
        some = self.limit_train_batches
        require(some is None or some > 0, "trainer.limit_train_batches", some, "above 0, or null")
        dry = self.fast_dev_run
        require(isinstance(dry, int), "trainer.fast_dev_run", dry, "true, false, or a number")
        batches = self.accumulate_grad_batches
        require(batches >= 1, "trainer.accumulate_grad_batches", batches, "at least 1")
        clip = self.gradient_clip_val
        require(clip is None or clip > 0, "trainer.gradient_clip_val", clip, "above 0, or null")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def valid_devices(devices: object) -> bool:
    if isinstance(devices, int) and not isinstance(devices, bool):
        return devices == -1 or devices >= 1
    if isinstance(devices, list):
        return bool(devices) and all(isinstance(index, int) and index >= 0 for index in devices)
    return isinstance(devices, str) and (devices == "auto" or devices.replace(",", "").isdigit())


@dataclass
class CheckpointConfig:
    _target_: str = "lightning.pytorch.callbacks.ModelCheckpoint"
    dirpath: str = setting("${output_dir}/checkpoints", "folder of best.ckpt and last.ckpt")
    filename: str = "best"
    monitor: str = setting("val/uar", "what the best checkpoint is best at")
    mode: str = "max"
    save_top_k: int = 1
    enable_version_counter: bool = False
    # After a validation only: `train` sees to an epoch that max_steps or max_time cuts short.
    save_on_train_epoch_end: bool = False

    def __post_init__(self) -> None:
        check_monitor("callbacks.checkpoint", self.monitor, self.mode)
        plain = bool(self.filename) and not set("{}/") & set(self.filename)
        rule = "a plain name, without braces: last.ckpt keeps the latest state besides"
        require(plain, "callbacks.checkpoint.filename", self.filename, rule)


def check_monitor(key: str, monitor: str, mode: str) -> None:
    known = re.fullmatch(r"val/(loss|uar|accuracy|macro_f1|(precision|recall|f1)/\w+)", monitor)
    rule = "is none of val/uar, val/accuracy, val/macro_f1, val/loss, val/recall/EMOTION, ..."
    require(known is not None, f"{key}.monitor", monitor, rule)
    require(mode in ("min", "max"), f"{key}.mode", mode, "min or max")


@dataclass
class LastCheckpointConfig:
    """Apart from the best one: `save_last` of Lightning 2.6 is a copy of the best checkpoint."""

    _target_: str = "ser.last_checkpoint.LastCheckpoint"
    dirpath: str = "${output_dir}/checkpoints"
    every_minutes: float | None = setting(
        10.0, "last.ckpt is written after each validation, and so often between; null: not"
    )
    every_steps: int | None = setting(None, "and after so many optimiser steps; null: not")

    def __post_init__(self) -> None:
        for key in ("every_minutes", "every_steps"):
            often = getattr(self, key)
            name = f"callbacks.last_checkpoint.{key}"
            require(often is None or 0 < often < 1e9, name, often, "above 0, or null")


@dataclass
class GuardsConfig:
    _target_: str = "ser.guards.Guards"
    patience: int = setting(2, "validations at the level of guessing, then a warning")

    def __post_init__(self) -> None:
        require(self.patience >= 1, "callbacks.guards.patience", self.patience, "at least 1")


@dataclass
class MonitoringConfig:
    _target_: str = "ser.monitoring.Monitoring"
    worst_errors: int = setting(4, "validation errors whose audio TensorBoard plays")

    def __post_init__(self) -> None:
        errors = self.worst_errors
        require(errors >= 0, "callbacks.monitoring.worst_errors", errors, "0 or more")


@dataclass
class EarlyStoppingConfig:
    _target_: str = "lightning.pytorch.callbacks.EarlyStopping"
    monitor: str = "val/uar"
    mode: str = "max"
    patience: int = setting(5, "validations without a better one, then stop")
    min_delta: float = setting(0.0, "what counts as better")
    check_on_train_epoch_end: bool = False

    def __post_init__(self) -> None:
        check_monitor("callbacks.early_stopping", self.monitor, self.mode)
        patience = self.patience
        require(patience >= 0, "callbacks.early_stopping.patience", patience, "0 or more")


@dataclass
class LearningRateConfig:
    _target_: str = "lightning.pytorch.callbacks.LearningRateMonitor"
    logging_interval: str = "step"


@dataclass
class ProgressBarConfig:
    _target_: str = "lightning.pytorch.callbacks.RichProgressBar"
    refresh_rate: int = 1
    leave: bool = False


@dataclass
class TensorBoardConfig:
    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    save_dir: str = "${output_dir}"
    name: str = "tensorboard"
    version: str = ""
    default_hp_metric: bool = False


@dataclass
class CsvConfig:
    _target_: str = "lightning.pytorch.loggers.CSVLogger"
    save_dir: str = "${output_dir}"
    name: str = "csv"
    version: str = ""


SCHEMA = {
    "callbacks": {
        "checkpoint": CheckpointConfig,
        "last_checkpoint": LastCheckpointConfig,
        "guards": GuardsConfig,
        "monitoring": MonitoringConfig,
        "early_stopping": EarlyStoppingConfig,
        "learning_rate": LearningRateConfig,
        "progress_bar": ProgressBarConfig,
    },
    "logger": {"tensorboard": TensorBoardConfig, "csv": CsvConfig},
}
