"""Runs that go wrong, and what they say."""

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ser import training
from ser.last_checkpoint import LastCheckpoint
from ser.preparation import prepare
from ser.training import build, build_trainer, fit


class Meddler(Callback):
    """Something breaks at the third step, in the way that `break_it` does."""

    def __init__(self, break_it: Any) -> None:
        self.break_it = break_it

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        if batch_idx == 2:
            self.batch = batch
            self.break_it(batch)


@pytest.fixture
def broken_run(quick_config, tmp_path):
    def broken_run(break_it: Any, *overrides: str) -> Any:
        often = "callbacks.last_checkpoint.every_steps=1"
        config = quick_config(tmp_path, often, "trainer.limit_train_batches=4", *overrides)
        module, data = build(config, prepare(config.data, config.split))
        trainer: Any = build_trainer(config.trainer)
        meddler = Meddler(break_it)
        trainer.callbacks.insert(0, meddler)
        with pytest.raises(ValueError, match=r".") as caught:
            fit(trainer, module, data, config)
        return str(caught.value), meddler.batch, data

    return broken_run


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(broken_run, tmp_path):
    message, batch, data = broken_run(lambda batch: batch["input_values"].fill_(float("nan")))
    assert message.startswith("the loss is nan in epoch 0, step 2, of the batch ")
    part = data.manifest.part("train")
    named = message.partition("of the batch ")[2].partition(":")[0]
    ids = [part.id[row] for row in batch["rows"].tolist()]
    assert named == f"{', '.join(ids[:5])} and {len(ids) - 5} more"
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


def test_too_little_memory_ends_with_advice(broken_run):
    def run_out(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 ...")

    message, _, _ = broken_run(run_out, "trainer.accumulate_grad_batches=2")
    assert message == (
        "the GPU's memory is too small (CUDA out of memory): try data.batch_size=8"
        " trainer.accumulate_grad_batches=4 (the same steps in smaller pieces), a smaller"
        " data.max_seconds, model.gradient_checkpointing=true, trainer.precision=bf16-mixed,"
        " or model=lora"
    )


def test_weights_that_are_not_finite_are_not_saved_between_validations(quick_config, tmp_path):
    config = quick_config(tmp_path)
    module, data = build(config, prepare(config.data, config.split))
    trainer: Any = build_trainer(config.trainer)
    trainer.callbacks = [LastCheckpoint(str(tmp_path), every_steps=1)]
    network: Any = module.network
    torch.nn.init.constant_(network.classifier.bias, float("nan"))
    with pytest.raises(ValueError, match="the weights are not finite"):
        trainer.fit(module, data)
    assert list(tmp_path.rglob("*.ckpt")) == []


def test_a_collapsed_network_is_said_to_be_so(quick_config, tmp_path, caplog):
    few = ["trainer.limit_train_batches=1", "trainer.limit_val_batches=6", "trainer.max_epochs=3"]
    config = quick_config(tmp_path, *few, "model.lr=1e-30")
    module, data = build(config, prepare(config.data, config.split))
    network: Any = module.network
    torch.nn.init.zeros_(network.classifier.weight)
    network.classifier.bias.data = torch.tensor([0, 0.01, 0, 0, 0, 0, 0, 0])
    training.fit(build_trainer(config.trainer), module, data, config)
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == "ser.guards"]
    assert len(warnings) == 2  # each once, though there are three validations
    assert warnings[0].startswith("The last 2 validations took every utterance for happy: ")
    assert "the loss stayed at ln(8) = 2.08, which is that of guessing" in warnings[1]


def test_a_network_that_learns_is_not_warned_of(quick_config, tmp_path, caplog):
    config = quick_config(tmp_path, "trainer.max_epochs=3")
    training.train(config)
    assert [entry for entry in caplog.records if entry.name == "ser.guards"] == []


def test_a_disk_that_is_full_is_what_is_told_of(quick_config, tmp_path, monkeypatch):
    """And not that the duration of the training could not be written either."""

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ser.last_checkpoint.flush", fail)
    monkeypatch.setattr("ser.provenance.write_text", fail)
    with pytest.raises(OSError, match="make room; what was saved before is still there"):
        training.train(quick_config(tmp_path, "trainer.max_steps=2"))
