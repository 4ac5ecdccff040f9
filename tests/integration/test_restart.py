"""Runs that are stopped and gone on with: in process first, then killed as processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ser import training
from ser.last_checkpoint import AtomicCheckpointIO
from ser.model import read_checkpoint
from ser.training import train

ROOT = Path(__file__).parents[2]
# Three epochs of five batches of unequal size, two of them added up for a step, the last alone; with dropout and SpecAugment, and a schedule that has an end.
RECIPE = [
    *("trainer.max_epochs=3", "trainer.limit_train_batches=5", "data.batch_size=10"),
    *("trainer.accumulate_grad_batches=2", "model.backbone.mask_feature_prob=0.2"),
    "trainer.limit_val_batches=2",
    *("callbacks.last_checkpoint.every_steps=1", "callbacks.early_stopping.patience=20"),
]


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")[1]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


class Crash(Callback):
    """The process is lost at one moment of training."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.moment = epoch, batch

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        if (trainer.current_epoch, batch_idx) == self.moment:
            raise RuntimeError("crashed")


@pytest.fixture
def crash(monkeypatch):
    def crash(config: Any, epoch: int, batch: int) -> None:
        def build_trainer(settings: Any) -> Any:
            trainer: Any = original(settings)
            trainer.callbacks.insert(0, Crash(epoch, batch))
            return trainer

        original = training.build_trainer
        with monkeypatch.context() as patch:
            patch.setattr(training, "build_trainer", build_trainer)
            with pytest.raises(RuntimeError, match="crashed"):
                train(config)

    return crash


@pytest.fixture(scope="module")
def whole(quick_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(quick_config(folder, *RECIPE))
    return folder


@pytest.mark.parametrize(
    ("epoch", "batch", "workers"), [(0, 3, 0), (1, 0, 0), (1, 4, 0), (2, 2, 2)]
)
def test_a_run_lost_in_an_epoch_ends_as_if_it_had_not_been(
    whole, crash, quick_config, tmp_path, epoch, batch, workers
):
    options = [*RECIPE, f"data.num_workers={workers}"]
    crash(quick_config(tmp_path, *options), epoch, batch)
    last = tmp_path / "checkpoints" / "last.ckpt"
    train(quick_config(tmp_path, *options, f"ckpt={last}"))
    assert same(weights(whole), weights(tmp_path))
    assert same(weights(whole, "best"), weights(tmp_path, "best"))
    one, other = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (whole, tmp_path)
    )
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert one["global_step"] == other["global_step"] == 9


def test_a_run_cut_short_by_steps_goes_on_in_the_middle_of_its_epoch(quick_config, tmp_path):
    constant = ["model.schedule=constant", "model.warmup_ratio=0", "trainer.max_epochs=2"]
    recipe = [*RECIPE, *constant, "trainer.limit_train_batches=6"]
    train(quick_config(tmp_path / "whole", *recipe))
    part = train(quick_config(tmp_path / "part", *recipe, "trainer.max_steps=2"))
    assert part.checkpoint is not None
    last = tmp_path / "part" / "checkpoints" / "last.ckpt"
    train(quick_config(tmp_path / "part", *recipe, "trainer.max_steps=-1", f"ckpt={last}"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))


def test_a_stretched_schedule_is_said(quick_config, tmp_path, caplog):
    few = ["trainer.limit_train_batches=2", "callbacks.early_stopping.patience=9"]
    train(quick_config(tmp_path, *few))
    last = tmp_path / "checkpoints" / "last.ckpt"
    train(quick_config(tmp_path, *few, "trainer.max_epochs=2", f"ckpt={last}"))
    assert "trainer.max_epochs was 1: from here the learning rate falls as if" in caplog.text


def test_a_run_that_stopped_early_is_done(quick_config, tmp_path):
    few = ["trainer.limit_train_batches=1", "trainer.max_epochs=9", "model.lr=1e-30"]
    train(quick_config(tmp_path, *few, "callbacks.early_stopping.patience=1"))
    last = f"ckpt={tmp_path / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(ValueError, match=r"stopped early: give more than .*patience=1 to go on"):
        train(quick_config(tmp_path, *few, "callbacks.early_stopping.patience=1", last))


def test_a_checkpoint_of_other_labels_is_refused_with_both_named(quick_config, tmp_path):
    train(quick_config(tmp_path, "trainer.max_steps=1"))
    last = tmp_path / "checkpoints" / "last.ckpt"
    changed = quick_config(tmp_path, f"ckpt={last}", "+data.merge.calm=neutral")
    with pytest.raises(
        ValueError, match=r"surprise, calm apart, and not .*surprise: keep data\.labels"
    ):
        train(changed)


def test_a_checkpoint_is_whole_or_not_there(tmp_path):
    """A write that fails half way leaves what was there before."""
    path = tmp_path / "x.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"step": torch.ones(9999), "bad": lambda: 0}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}


def start(folder: Path, options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "train.py", "experiment=quickstart", "callbacks=quiet", *options]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    last = folder / "checkpoints" / "last.ckpt"
    where = [f"output_dir={folder}", *([f"ckpt={last}"] if last.exists() else [])]
    return subprocess.Popen([*command, *where], cwd=ROOT, start_new_session=True, **pipes)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def kill(process: subprocess.Popen[str], number: int) -> str:
    """Send a signal to every process of a run, as Slurm and a terminal do."""
    os.killpg(process.pid, number)
    return process.communicate(timeout=120)[0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_any_moment_ends_with_the_weights_of_one_never_killed(
    corpora, cache_dir, tmp_path, workers
):
    """SIGKILL after random times; a checkpoint a step, so that many fall into a write."""
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    options = [*RECIPE, *data, f"data.num_workers={workers}", "trainer.limit_train_batches=30"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole, options)
    assert "val uar" in process.communicate(timeout=300)[0] or process.returncode == 0
    generator = np.random.default_rng(workers)
    kills = 0
    for _ in range(5):
        process = start(killed, options)
        before = _written(killed)
        while process.poll() is None and _written(killed) == before:
            time.sleep(0.01)
        time.sleep(float(generator.uniform(0, 1.0)))
        if process.poll() is not None:
            break
        kill(process, signal.SIGKILL)
        kills += 1
        assert weights(killed)
    if process.returncode != 0:
        process = start(killed, options)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert kills >= 3
    assert same(weights(whole), weights(killed))
    assert same(weights(whole, "best"), weights(killed, "best"))


def _written(folder: Path) -> int:
    last = folder / "checkpoints" / "last.ckpt"
    return last.stat().st_mtime_ns if last.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")],
)
def test_a_run_asked_to_stop_saves_the_step_it_is_in(
    corpora, cache_dir, tmp_path, sent, code, word
):
    """With loader processes, which get the signal too."""
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}", "data.num_workers=2"]
    long = ["trainer.max_epochs=500", "callbacks.early_stopping.patience=500"]
    folder = tmp_path / "run"
    process = start(folder, [*data, *long])
    last = folder / "checkpoints" / "last.ckpt"
    wait_for(last, process)
    time.sleep(0.3)
    output = kill(process, sent)
    assert process.returncode == code, output
    assert f"{word} To go on: python train.py ckpt={last}" in output
    step = torch.load(last, weights_only=True)["global_step"]
    assert step % 30 != 0  # in the middle of an epoch, where nothing else saves
