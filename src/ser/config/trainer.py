"""Settings of `lightning.Trainer`, typed."""

from dataclasses import dataclass
from typing import Any

from ser.config.fields import setting
from ser.config.precision import Precision, name_precision
from ser.errors import require

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
PRECISIONS = (
    *Precision,
    *("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"),
)


@dataclass
class TrainerConfig:
    """The arguments of `lightning.Trainer`; a test compares the names with its signature."""

    _target_: str = "lightning.Trainer"
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    devices: Any = setting("auto", "number of devices, a list of indices, or auto")
    strategy: str = setting("auto", "auto, ddp, ddp_find_unused_parameters_true, ...")
    num_nodes: int = setting(1, "number of machines")
    precision: str = setting(
        "auto",
        "auto: bf16 if the device supports it; fp32|bf16|fp16, or a name of Lightning's",
    )
    max_epochs: int = setting(20, "maximum number of epochs; -1: no limit")
    min_epochs: int | None = setting(None, "minimum number of epochs; null: none")
    max_steps: int = setting(-1, "maximum number of optimiser steps; -1: no limit")
    max_time: str | None = setting(None, "maximum time as DD:HH:MM:SS; null: no limit")
    accumulate_grad_batches: int = setting(1, "batches per optimiser step")
    gradient_clip_val: float | None = setting(1.0, "maximum gradient norm; null: no clipping")
    val_check_interval: Any = setting(
        None, "validate every N batches or every share of an epoch; null: once per epoch"
    )
    check_val_every_n_epoch: int = setting(1, "validate every N epochs")
    limit_train_batches: Any = setting(None, "number or share of training batches; null: all")
    limit_val_batches: Any = setting(None, "number or share of validation batches; null: all")
    fast_dev_run: Any = setting(False, "run one batch of everything and save nothing")
    num_sanity_val_steps: int = setting(0, "validation batches before training")
    log_every_n_steps: int = setting(10, "log training scalars every N steps")
    enable_progress_bar: bool = setting(True, "show a progress bar; callbacks=quiet disables it")
    enable_model_summary: bool = setting(False, "print the layers of the network")
    deterministic: Any = setting(None, "true or warn: use reproducible kernels only")
    benchmark: bool | None = setting(None, "let cuDNN search for fast kernels; null: automatic")
    detect_anomaly: bool = setting(False, "find the origin of a NaN; slow")
    profiler: str | None = setting(None, "simple, advanced or pytorch; null: none")

    def __post_init__(self) -> None:
        self.precision = name_precision(self.precision)
        for key, known in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            value = getattr(self, key)
            require(value in known, f"trainer.{key}", value, f"choose one of {', '.join(known)}")
        rule = "give a count from 1, -1 for all, a list of indices, or auto"
        require(valid_devices(self.devices), "trainer.devices", self.devices, rule)
        for key in ("max_epochs", "max_steps"):
            limit = getattr(self, key)
            require(limit == -1 or limit >= 1, f"trainer.{key}", limit, "1 or more, or -1")
        counts = ("check_val_every_n_epoch", "accumulate_grad_batches", "num_nodes")
        for key in (*counts, "log_every_n_steps"):
            count = getattr(self, key)
            require(count >= 1, f"trainer.{key}", count, "at least 1")
        for key in ("val_check_interval", "limit_train_batches", "limit_val_batches"):
            limit = getattr(self, key)
            rule = "a number of batches, or a share of them from 0.0 to 1.0"
            require(limit is None or is_limit(limit), f"trainer.{key}", limit, rule)
        for key in ("val_check_interval", "limit_train_batches"):
            some = getattr(self, key)
            require(some is None or some > 0, f"trainer.{key}", some, "above 0, or null")
        dry = self.fast_dev_run
        require(isinstance(dry, int), "trainer.fast_dev_run", dry, "true, false, or a number")
        clip = self.gradient_clip_val
        require(clip is None or clip > 0, "trainer.gradient_clip_val", clip, "above 0, or null")


def is_limit(value: object) -> bool:
    """Whether a value is a number of batches, or a share of them."""
    if isinstance(value, float):
        return 0 <= value <= 1
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def valid_devices(devices: object) -> bool:
    if isinstance(devices, int) and not isinstance(devices, bool):
        return devices == -1 or devices >= 1
    if isinstance(devices, list):
        return bool(devices) and all(isinstance(index, int) and index >= 0 for index in devices)
    return isinstance(devices, str) and (devices == "auto" or devices.replace(",", "").isdigit())
