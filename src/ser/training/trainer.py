"""Build Lightning's Trainer from the settings."""

import os
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only

from ser.config.callbacks import CheckpointConfig, EarlyStoppingConfig, mode_of
from ser.config.loggers import MlflowConfig
from ser.config.precision import LIGHTNING, Precision
from ser.config.train import TrainConfig
from ser.config.trainer import TrainerConfig
from ser.errors import UserError
from ser.models.precision import computes_bf16
from ser.training.callbacks.progress import EpochLog, ProgressBar
from ser.training.checkpoint_io import AtomicCheckpointIO
from ser.training.launcher import check_launcher, check_rank

HINT = "see trainer.accelerator, trainer.devices, trainer.strategy, trainer.precision"


def build_trainer(config: TrainConfig, callbacks: Sequence[Callback] = ()) -> Trainer:
    """The Trainer of a config; raises UserError if the machine cannot do what it asks for."""
    check_launcher(os.environ)
    plugins: list[Any] = [AtomicCheckpointIO(complete=config.save_backbone)]
    if SLURMEnvironment.detect():
        # Lightning 2.6 would save a checkpoint of its own to the working folder when Slurm ends
        # the job, and silently prefer it to `ckpt` from then on.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    used = [*build_callbacks(config), *callbacks]
    bar = any(isinstance(each, LightningProgressBar) for each in used)
    settings = {k: v for k, v in vars(config.trainer).items() if k != "_target_"}
    settings |= {"precision": resolve_precision(config.trainer), "enable_progress_bar": bar}
    try:
        trainer = Trainer(
            **settings,
            callbacks=used,
            logger=build_loggers(config),
            plugins=plugins,
            use_distributed_sampler=False,  # our sampler divides the batches itself
            default_root_dir=config.output_dir,
        )
    except (
        *(ValueError, RuntimeError, TypeError, ImportError, AssertionError),
        MisconfigurationException,
    ) as error:
        raise UserError(f"trainer: {error} ({HINT})") from error
    known: Any = rank_zero_only
    check_rank(known.rank, trainer.global_rank)
    check_devices(trainer, config)
    return trainer


def check_devices(trainer: Trainer, config: TrainConfig) -> None:
    """Raise UserError for a strategy or an option that does not work on these devices."""
    strategy, layerdrop = config.trainer.strategy, config.model.backbone.layerdrop
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        raise UserError(
            f"trainer.strategy={strategy}: weights are not divided among devices here; use ddp,"
            " with model.gradient_checkpointing=true or model=lora if the memory is too small"
        )
    if layerdrop > 0 and trainer.world_size > 1 and "find_unused" not in strategy:
        raise UserError(
            f"model.backbone.layerdrop={layerdrop} on several devices needs"
            " trainer.strategy=ddp_find_unused_parameters_true"
        )
    if config.model.fits and trainer.world_size > 1:
        raise UserError(f"model.fit={config.model.fit} works with trainer.devices=1 only")


def build_callbacks(config: TrainConfig) -> list[Callback]:
    """The callbacks of a config, and the log of epochs; null switches one off."""
    used = [each for each in config.callbacks.values() if each is not None]
    built = [create(fill_in(each, config)) for each in used]
    if not config.trainer.enable_progress_bar:
        built = [each for each in built if not isinstance(each, ProgressBar)]
    return [*built, EpochLog(config.monitor)]


def build_loggers(config: TrainConfig) -> Any:
    """The loggers of a config, or False for none; null switches one off."""
    used = [each for each in config.logger.values() if each is not None]
    return [create(fill_in(each, config)) for each in used] or False


def fill_in(settings: Any, config: TrainConfig) -> Any:
    """Settings of a callback or logger with what follows from the rest of the config."""
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    folder, changes = Path(config.output_dir), {}
    if getattr(settings, "dirpath", "") is None:
        changes["dirpath"] = str(folder / "checkpoints")
    if getattr(settings, "save_dir", "") is None:
        changes["save_dir"] = str(folder)
    if isinstance(settings, MlflowConfig) and settings.tracking_uri is None:
        changes["tracking_uri"] = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        place = settings.artifact_location or (folder / "mlflow").absolute().as_uri()
        changes["artifact_location"] = place  # else mlruns/ in the working folder
    if isinstance(settings, CheckpointConfig | EarlyStoppingConfig):
        monitor = settings.monitor or config.monitor
        changes |= {"monitor": monitor, "mode": settings.mode or mode_of(monitor)}
    return replace(settings, **changes)


def create(settings: Any) -> Any:
    """The object that settings with a `_target_` describe. Raises UserError if it fails."""
    try:
        return instantiate(settings)
    except InstantiationException as error:
        target = getattr(settings, "_target_", None) or dict(settings).get("_target_")
        raise UserError(f"{target} cannot be created: {error.__cause__ or error}") from error


def resolve_precision(config: TrainerConfig) -> str:
    """`auto` is bf16 mixed precision if the device computes in it, else full precision."""

    def choose(device: torch.device) -> Precision:
        return Precision.bf16 if computes_bf16(device) else Precision.fp32

    if config.precision != "auto":
        return LIGHTNING.get(config.precision, config.precision)  # pyright: ignore
    if torch.cuda.is_available() and config.accelerator in ("auto", "gpu", "cuda"):
        return LIGHTNING[choose(torch.device("cuda"))]
    on_cpu = config.accelerator == "cpu" or not torch.backends.mps.is_available()
    return LIGHTNING[choose(torch.device("cpu")) if on_cpu else Precision.fp32]


def explain_memory(error: torch.OutOfMemoryError, batch_size: int, accumulated: int) -> str:
    """What to try if the memory of a GPU is too small."""
    reason = str(error).partition(". ")[0].strip()
    smaller, more = max(1, batch_size // 2), accumulated * 2
    return (
        f"the GPU has too little memory ({reason}): try data.batch_size={smaller}"
        f" trainer.accumulate_grad_batches={more} (the same optimiser steps), a smaller"
        " data.max_seconds, model.gradient_checkpointing=true, trainer.precision=bf16, or"
        " model=lora"
    )
