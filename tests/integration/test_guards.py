"""Training runs that go wrong, and how they end."""

from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ser.errors import UserError
from ser.models.checkpoint import Checkpoint
from ser.training.module import TrainingError
from ser.training.train import train

GUARDS = "ser.training.callbacks.guards"


class Breaking(Callback):
    """Calls a function with every batch from the third one on."""

    def __init__(self, break_it: Any) -> None:
        self.break_it = break_it
        self.batches: list[Any] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        if batch_idx >= 2:
            self.batches.append(batch)
            self.break_it(batch)


@pytest.fixture
def broken_run(quick_config, tmp_path):
    """The message of a run that breaks, and the batches it broke on."""

    def broken_run(break_it: Any, *overrides: str) -> tuple[str, list[Any]]:
        often = ["callbacks.last_checkpoint.every_steps=1", "trainer.log_every_n_steps=2"]
        config = quick_config(tmp_path, *often, "trainer.limit_train_batches=6", *overrides)
        breaking = Breaking(break_it)
        with pytest.raises(TrainingError) as caught:
            train(config, [breaking])
        return str(caught.value), breaking.batches

    return broken_run


def test_nan_in_every_batch_stops_the_run_and_names_the_first_batch(broken_run, tmp_path):
    message, batches = broken_run(lambda batch: batch["input_values"].fill_(float("nan")))
    table = pd.read_csv(tmp_path / "manifest.csv")
    ids = table[table["split"] == "train"]["id"].tolist()
    assert all(ids[row] in message for row in batches[0]["rows"][:5])
    kept = Checkpoint.open(tmp_path / "checkpoints" / "last.ckpt")
    assert kept.content["global_step"] >= 2
    assert all(value.isfinite().all() for value in kept.weights.values())
    assert not (tmp_path / "result.json").exists()


def test_too_little_memory_ends_with_advice(broken_run):
    def run_out(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 ...")

    message, _ = broken_run(run_out, "trainer.accumulate_grad_batches=2")
    assert "data.batch_size=8 trainer.accumulate_grad_batches=4" in message


def test_weights_that_are_not_finite_are_not_saved(quick_config, tmp_path):
    class Diverge(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            torch.nn.init.constant_(pl_module.network.classifier.bias, float("nan"))

    config = quick_config(tmp_path, "callbacks.last_checkpoint.every_steps=1")
    with pytest.raises(TrainingError, match=r"model\.lr"):
        train(config, [Diverge()])
    assert list(tmp_path.rglob("*.ckpt")) == []


def warnings(caplog: Any) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.name == GUARDS]


def test_a_collapsed_network_is_reported(quick_config, tmp_path, caplog):
    class Collapse(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            torch.nn.init.zeros_(pl_module.network.classifier.weight)
            pl_module.network.classifier.bias.data = torch.tensor([0, 0.01, 0, 0, 0, 0, 0, 0])

    few = ["trainer.limit_train_batches=1", "trainer.limit_val_batches=6", "trainer.max_epochs=3"]
    train(quick_config(tmp_path, *few, "model.lr=1e-30"), [Collapse()])
    collapsed, at_chance = warnings(caplog)  # once each, though there are three validations
    assert "happy" in collapsed
    assert "UAR" in at_chance


@pytest.mark.slow
def test_a_network_that_learns_is_not_warned_about(quick_config, tmp_path, caplog):
    train(quick_config(tmp_path, "trainer.max_epochs=2"))
    assert warnings(caplog) == []


def test_a_full_disk_is_the_error_that_is_reported(quick_config, tmp_path, monkeypatch):
    """And not that the provenance could not be written either."""

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ser.training.checkpoint_io.flush", fail)
    monkeypatch.setattr("ser.training.provenance.write_text", fail)
    with pytest.raises(UserError, match=r"\.ckpt cannot be written"):
        train(quick_config(tmp_path, "trainer.max_steps=2"))
