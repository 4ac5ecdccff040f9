"""The Trainer of a config: callbacks, loggers, precision, and what is refused."""

import inspect
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar

from ser.config.backbone import BackboneConfig
from ser.config.callbacks import CheckpointConfig, EarlyStoppingConfig, default_callbacks
from ser.config.loggers import LOGGERS, CsvConfig, MlflowConfig
from ser.config.model import ModelConfig
from ser.config.train import TrainConfig
from ser.config.trainer import TrainerConfig
from ser.errors import UserError
from ser.training.callbacks.progress import EpochLog, ProgressBar
from ser.training.trainer import build_trainer, explain_memory, fill_in, resolve_precision

CPU = TrainerConfig(accelerator="cpu", devices=1)


def build(tmp_path, **options: Any) -> Trainer:
    settings = {"trainer": CPU, "logger": {"csv": CsvConfig()}} | options
    return build_trainer(TrainConfig(output_dir=str(tmp_path), **settings))


def test_the_settings_are_arguments_of_lightning():
    known = set(inspect.signature(Trainer).parameters)
    names = {entry.name for entry in fields(TrainerConfig)} - {"_target_"}
    assert names <= known


def test_one_monitor_chooses_stops_and_is_logged(tmp_path):
    trainer: Any = build(tmp_path, monitor="val/loss")
    found = [
        c for c in trainer.callbacks if isinstance(c, ModelCheckpoint | EarlyStopping | EpochLog)
    ]
    assert len(found) == 3
    assert {callback.monitor for callback in found} == {"val/loss"}
    assert {callback.mode for callback in found if not isinstance(callback, EpochLog)} == {"min"}
    checkpoint: Any = trainer.checkpoint_callback
    assert checkpoint.dirpath == str(tmp_path / "checkpoints")


def test_a_callback_can_watch_another_metric(tmp_path):
    callbacks = {
        "checkpoint": CheckpointConfig(monitor="val/accuracy"),
        "early_stopping": EarlyStoppingConfig(monitor="val/loss", mode="max"),
    }
    trainer: Any = build(tmp_path, callbacks=callbacks)
    assert (trainer.checkpoint_callback.monitor, trainer.checkpoint_callback.mode) == (
        "val/accuracy",
        "max",
    )
    [stopping] = trainer.early_stopping_callbacks
    assert (stopping.monitor, stopping.mode) == ("val/loss", "max")


def test_a_null_callback_or_logger_is_off(tmp_path):
    callbacks = default_callbacks() | {"checkpoint": None, "early_stopping": None}
    trainer: Any = build(tmp_path, callbacks=callbacks, logger={"csv": CsvConfig(), "x": None})
    assert trainer.early_stopping_callbacks == []
    assert len(trainer.loggers) == 1


def test_a_class_of_the_user_can_be_a_callback(tmp_path):
    target = {"_target_": "lightning.pytorch.callbacks.Timer", "interval": "epoch"}
    trainer: Any = build(tmp_path, callbacks={"timer": target})
    assert "Timer" in {type(callback).__name__ for callback in trainer.callbacks}
    with pytest.raises(UserError, match="nothing"):
        build(tmp_path, callbacks={"x": {"_target_": "nothing.At.all"}})


def test_without_a_progress_bar_none_is_built(tmp_path):
    trainer: Any = build(tmp_path, trainer=replace(CPU, enable_progress_bar=False))
    assert not any(isinstance(callback, ProgressBar) for callback in trainer.callbacks)
    trainer = build(tmp_path)
    assert any(isinstance(callback, ProgressBar) for callback in trainer.callbacks)
    assert not any(isinstance(callback, TQDMProgressBar) for callback in trainer.callbacks)


def test_loggers_write_to_the_run_folder(tmp_path):
    config = TrainConfig(output_dir=str(tmp_path))
    for kind in LOGGERS.values():
        filled = fill_in(kind(), config)
        if hasattr(filled, "save_dir"):
            assert filled.save_dir == str(tmp_path)
    assert str(tmp_path) in fill_in(MlflowConfig(), config).tracking_uri


@pytest.mark.parametrize(
    "options",
    [
        {"max_time": "soon"},
        {"profiler": "stopwatch"},
        {"strategy": "teleport"},
        {"accelerator": "gpu"},
        {"precision": "16-true", "strategy": "fsdp"},
        {"strategy": "deepspeed"},
        {"devices": "0,1"},
    ],
)
def test_what_lightning_or_the_machine_cannot_do_is_one_error(tmp_path, options):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="trainer"):
        build(tmp_path, trainer=replace(CPU, **options))


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true"])
def test_layerdrop_on_several_devices_needs_a_strategy_that_allows_it(tmp_path, strategy):
    """DDP waits for the gradients of skipped layers."""
    model = ModelConfig(backbone=BackboneConfig(layerdrop=0.1))
    two = replace(CPU, devices=2, strategy=strategy)
    build(tmp_path, model=model, trainer=replace(CPU, strategy=strategy))  # one device
    if "find_unused" in strategy:
        build(tmp_path, model=model, trainer=two)
    else:
        with pytest.raises(UserError, match=r"model\.backbone\.layerdrop"):
            build(tmp_path, model=model, trainer=two)


def test_precision_follows_the_device_only_if_it_is_auto():
    for ours, theirs in (("fp32", "32-true"), ("bf16", "bf16-mixed"), ("fp16", "16-mixed")):
        short = theirs.removesuffix("-true").removesuffix("-mixed")
        assert {TrainerConfig(precision=name).precision for name in (theirs, short)} == {ours}
        assert resolve_precision(TrainerConfig(precision=ours)) == theirs
    assert TrainerConfig(precision="bf16-true").precision == "bf16-true"
    chosen = resolve_precision(TrainerConfig(accelerator="cpu"))
    fast = torch.cpu._is_avx512_bf16_supported()
    assert chosen == ("bf16-mixed" if fast else "32-true")


def test_advice_for_too_little_memory_keeps_the_optimiser_steps():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 ...")
    message = explain_memory(error, 16, 2)
    assert "data.batch_size=8 trainer.accumulate_grad_batches=4" in message
    assert "CUDA out of memory" in message
