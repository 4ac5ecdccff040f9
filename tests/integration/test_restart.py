"""Runs that stop and are resumed: in process first, then as killed processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ser.errors import UserError
from ser.models.checkpoint import Checkpoint
from ser.training.checkpoint_io import AtomicCheckpointIO
from ser.training.train import train

ROOT = Path(__file__).parents[2]
# Three epochs of five batches of unequal size, two of which make a step, the last one alone. With
# dropout, SpecAugment, mixup, balanced sampling, and a schedule that has an end.
RECIPE = [
    *("trainer.max_epochs=3", "trainer.limit_train_batches=5", "data.batch_size=10"),
    *("trainer.accumulate_grad_batches=2", "trainer.limit_val_batches=2"),
    *("model.backbone.mask_feature_prob=0.2", "model.backbone.mask_time_prob=0.2"),
    *("model.mixup=0.4", "data.sampling=balanced"),
    *("callbacks.last_checkpoint.every_steps=1", "callbacks.early_stopping.patience=20"),
]
FEW = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=2"]


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return Checkpoint.open(folder / "checkpoints" / f"{name}.ckpt").weights


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Crash(Callback):
    """Raises an error at one batch of training."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.moment = epoch, batch

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        if (trainer.current_epoch, batch_idx) == self.moment:
            raise RuntimeError("crashed")


def crash(config: Any, epoch: int, batch: int) -> None:
    with pytest.raises(RuntimeError, match="crashed"):
        train(config, [Crash(epoch, batch)])


@pytest.fixture(scope="module")
def whole(quick_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(quick_config(folder, *RECIPE))
    return folder


@pytest.mark.parametrize(
    ("epoch", "batch", "workers"),
    [
        (1, 4, 0),
        *(
            pytest.param(*stop, marks=pytest.mark.slow)
            for stop in [(0, 3, 0), (1, 0, 0), (2, 2, 2)]
        ),
    ],
)
def test_a_crashed_run_ends_with_the_weights_of_an_uninterrupted_one(
    whole, quick_config, tmp_path, epoch, batch, workers
):
    options = [*RECIPE, f"data.num_workers={workers}"]
    crash(quick_config(tmp_path, *options), epoch, batch)
    assert not (tmp_path / "result.json").exists()
    train(quick_config(tmp_path, *options, f"ckpt={tmp_path}"))
    assert same(weights(whole), weights(tmp_path))
    assert same(weights(whole, "best"), weights(tmp_path, "best"))
    one, other = (
        Checkpoint.open(folder / "checkpoints" / "last.ckpt").content
        for folder in (whole, tmp_path)
    )
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert one["global_step"] == other["global_step"] == 9


def test_the_same_config_gives_the_same_weights_and_another_seed_others(
    whole, quick_config, tmp_path
):
    again = train(quick_config(tmp_path / "again", *RECIPE))
    assert same(weights(whole), weights(again.output_dir))
    other = train(quick_config(tmp_path / "other", *RECIPE, "seed=1"))
    assert not same(weights(whole), weights(other.output_dir))


@pytest.mark.slow
def test_a_run_that_ended_after_some_steps_is_resumed_within_its_epoch(quick_config, tmp_path):
    constant = ["model.schedule=constant", "model.warmup_ratio=0", "trainer.max_epochs=2"]
    recipe = [*RECIPE, *constant, "trainer.limit_train_batches=6"]
    train(quick_config(tmp_path / "whole", *recipe))
    part = train(quick_config(tmp_path / "part", *recipe, "trainer.max_steps=2"))
    assert part.checkpoint is not None
    last = tmp_path / "part" / "checkpoints" / "last.ckpt"
    train(quick_config(tmp_path / "part", *recipe, "trainer.max_steps=-1", f"ckpt={last}"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))


@pytest.fixture
def finished(quick_config, tmp_path) -> Path:
    """The folder of a short run that was finished."""
    train(quick_config(tmp_path, *FEW, "callbacks.early_stopping.patience=9"))
    return tmp_path


@pytest.mark.slow
def test_a_finished_run_is_not_resumed_unless_it_is_made_longer(quick_config, finished, caplog):
    with pytest.raises(UserError, match=r"trainer\.max_epochs=1"):
        train(quick_config(finished, *FEW, f"ckpt={finished}"))
    longer = [*FEW, "callbacks.early_stopping.patience=9", "trainer.max_epochs=2"]
    train(quick_config(finished, *longer, f"ckpt={finished}"))
    assert "trainer.max_epochs was 1" in caplog.text  # the schedule is stretched
    assert Checkpoint.open(finished / "checkpoints" / "last.ckpt").content["epoch"] == 1


@pytest.mark.slow
def test_a_run_killed_after_its_last_checkpoint_is_closed(quick_config, finished, tmp_path):
    """Without training any further."""
    result = json.loads((finished / "result.json").read_text())
    assert set(result) == {"checkpoint", "monitor", "score"}
    (finished / "result.json").unlink()
    before = (finished / "checkpoints" / "last.ckpt").read_bytes()
    closed = train(quick_config(finished, *FEW, f"ckpt={finished}"))
    assert json.loads((finished / "result.json").read_text()) == result
    assert closed.score == result["score"]
    assert (finished / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.slow
def test_closing_a_run_measures_the_parity_of_bf16_that_it_lacks(
    quick_config, tmp_path, monkeypatch
):
    """As an uninterrupted run does, on a device that computes in bf16."""
    from ser.training import parity

    monkeypatch.setattr(parity, "computes_bf16", lambda device: True)
    train(quick_config(tmp_path, *FEW))
    best = tmp_path / "checkpoints" / "best.ckpt"
    whole = torch.load(best, weights_only=True)
    torch.save({name: value for name, value in whole.items() if name != "parity"}, best)
    (tmp_path / "result.json").unlink()
    train(quick_config(tmp_path, *FEW, f"ckpt={tmp_path}"))
    assert torch.load(best, weights_only=True)["parity"] == whole["parity"]


def test_a_longer_run_that_is_killed_counts_as_unfinished(quick_config, finished):
    options = [*FEW, "trainer.max_epochs=3", f"ckpt={finished}"]
    crash(quick_config(finished, *options), 2, 0)
    assert not (finished / "result.json").exists()


# Kills its process at the first batch, before anything is saved, as SIGKILL from outside does.
KILLED = """
import os, signal, sys
from lightning.pytorch.callbacks import Callback
from ser.config.compose import compose_command
from ser.config.train import TrainConfig
from ser.training.train import train

class Kill(Callback):
    def on_train_batch_start(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

train(compose_command("train", sys.argv[1:], TrainConfig), [Kill()])
"""


def files(folder: Path) -> set[str]:
    """All files of a run; the names of TensorBoard's contain time and process."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.name.partition(".tfevents")[0] for path in found}


@pytest.fixture
def killed_early(corpora, cache_dir, tmp_path) -> Path:
    """The folder of a run that was killed before its first checkpoint."""
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    options = ["experiment=quickstart", "trainer.max_epochs=1", *FEW, *data]
    folder = tmp_path / "run"
    command = [sys.executable, "-c", KILLED, *options, f"output_dir={folder}"]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert (folder / ".hydra" / "config.yaml").is_file()
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_run_killed_before_its_first_checkpoint_is_started_again(
    quick_config, killed_early, tmp_path, caplog
):
    (killed_early / "checkpoints").mkdir(exist_ok=True)
    (killed_early / "checkpoints" / "best.ckpt.part").write_bytes(b"half")
    again = train(quick_config(killed_early, *FEW))
    assert str(killed_early) in caplog.text
    whole = train(quick_config(tmp_path / "whole", *FEW))
    assert again.score == whole.score
    assert same(weights(killed_early, "best"), weights(whole.output_dir, "best"))
    assert files(killed_early) == files(whole.output_dir)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["notes.txt", "checkpoints/best.ckpt", "result.json"])
def test_a_killed_run_with_files_of_the_user_is_not_started_again(quick_config, killed_early, name):
    own = killed_early / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in killed_early.rglob("*")}
    with pytest.raises(UserError, match="output_dir"):
        train(quick_config(killed_early, *FEW))
    assert {path: path.stat().st_mtime_ns for path in killed_early.rglob("*")} == before


def test_the_folder_of_a_run_that_is_still_starting_is_refused(quick_config, tmp_path, monkeypatch):
    from ser.training import run_folder

    monkeypatch.setattr(run_folder, "PATIENCE", 0.1)
    config = quick_config(tmp_path, *FEW)
    with run_folder.holding_folder(config):
        (tmp_path / ".hydra").mkdir()
        with ThreadPoolExecutor() as pool, pytest.raises(UserError, match="output_dir"):
            pool.submit(train, config).result()
    assert not list(tmp_path.glob("*.csv"))


def test_files_of_the_user_in_a_new_run_folder_are_kept(quick_config, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    train(quick_config(tmp_path, *FEW))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_fitted_head_killed_after_its_last_checkpoint_is_closed(quick_config, tmp_path):
    options = ["model=linear", *FEW]
    train(quick_config(tmp_path, *options))
    result = (tmp_path / "result.json").read_text()
    with pytest.raises(UserError, match="finished"):
        train(quick_config(tmp_path, *options, f"ckpt={tmp_path}"))
    (tmp_path / "result.json").unlink()
    train(quick_config(tmp_path, *options, f"ckpt={tmp_path}"))
    assert (tmp_path / "result.json").read_text() == result


@pytest.mark.slow
def test_a_run_that_stopped_early_is_finished(quick_config, tmp_path):
    few = ["trainer.limit_train_batches=1", "trainer.max_epochs=9", "model.lr=1e-30"]
    patience = "callbacks.early_stopping.patience=1"
    train(quick_config(tmp_path, *few, patience))
    with pytest.raises(UserError, match=r"callbacks\.early_stopping\.patience"):
        train(quick_config(tmp_path, *few, patience, f"ckpt={tmp_path}"))


def test_a_checkpoint_of_other_labels_is_refused_and_both_are_named(quick_config, finished):
    changed = quick_config(finished, *FEW, f"ckpt={finished}", "+data.merge.calm=neutral")
    with pytest.raises(UserError, match=r"surprise, calm.*surprise.*data\.labels"):
        train(changed)


@pytest.mark.slow
def test_training_works_in_a_thread(quick_config, tmp_path):
    """Where no signal handlers can be installed, as in some notebooks and servers."""
    config, results = quick_config(tmp_path, *FEW), []
    thread = threading.Thread(target=lambda: results.append(train(config)))
    thread.start()
    thread.join()
    assert results[0].checkpoint.is_file()


def test_a_checkpoint_is_complete_or_absent(tmp_path):
    """A write that fails half way keeps the checkpoint before it."""
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
def test_a_run_killed_at_any_moment_ends_with_the_weights_of_an_uninterrupted_one(
    corpora, cache_dir, tmp_path, workers
):
    """SIGKILL at random times; a checkpoint per step, so that many interrupt a write."""
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    options = [*RECIPE, *data, f"data.num_workers={workers}", "trainer.limit_train_batches=30"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole, options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
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
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_saves_the_present_step(corpora, cache_dir, tmp_path, sent, code):
    """With loader processes, which receive the signal too."""
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}", "data.num_workers=2"]
    long = ["trainer.max_epochs=500", "callbacks.early_stopping.patience=500"]
    folder = tmp_path / "run"
    process = start(folder, [*data, *long])
    last = folder / "checkpoints" / "last.ckpt"
    wait_for(last, process)
    time.sleep(0.3)
    output = kill(process, sent)
    assert process.returncode == code, output
    assert f"ckpt={folder}" in output
    step = torch.load(last, weights_only=True)["global_step"]
    assert step % 30 != 0  # within an epoch, where nothing else saves
