"""The steps of a training run as a callback sees them: loss, rates, clipping, decay."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ser.preparation.prepare import prepare
from ser.training.train import build
from ser.training.trainer import build_trainer

LR, CLIP, DECAY, SMOOTHING = 1e-3, 0.05, 0.07, 0.2
PARTS = ("hidden", "attention", "activation", "feat_proj", "final")
NO_DROPOUT = [f"+model.backbone.architecture.{part}_dropout=0.0" for part in PARTS]


@dataclass
class Recorder(Callback):
    training: list[bool] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    freed: list[bool] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    rows: dict[int, list[int]] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    expected: float = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        network = pl_module.network
        self.training.append(all(module.training for module in network.modules()))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.groups = trainer.optimizers[0].param_groups
        self.rows.setdefault(trainer.current_epoch, []).extend(batch["rows"])
        with torch.no_grad():
            mask = batch["attention_mask"]
            logits = network(batch["input_values"], attention_mask=mask).logits
        chances = logits.log_softmax(1)
        true = chances.gather(1, batch["labels"][:, None])[:, 0]
        self.expected = -((1 - SMOOTHING) * true + SMOOTHING * chances.mean(1)).mean().item()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ):
        self.losses.append((outputs["loss"].item(), self.expected))
        self.freed.append(all(p.grad is None for p in pl_module.parameters()))

    def on_train_start(self, trainer: Any, pl_module: Any):
        trainer.optimizers[0].register_step_post_hook(self.record_norm)

    def record_norm(self, optimizer: torch.optim.Optimizer, *_: Any):
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        grads = [p.grad.flatten() for p in parameters if p.grad is not None]
        self.norms.append(torch.cat(grads).norm().item())


@pytest.fixture(scope="module")
def recorded(quick_config, tmp_path_factory):
    config = quick_config(
        tmp_path_factory.mktemp("recipe"),
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=10",
        f"trainer.gradient_clip_val={CLIP}",
        "model.freeze_feature_encoder=true",
        "model.schedule=linear",
        "model.warmup_ratio=0.2",
        f"model.lr={LR}",
        f"model.weight_decay={DECAY}",
        f"model.label_smoothing={SMOOTHING}",
        *NO_DROPOUT,
    )
    module, data = build(config, prepare(config.data, config.split))
    recorder = Recorder()
    trainer = build_trainer(config, [recorder])
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    trainer.fit(module, data)
    return recorder, module, before


def test_the_network_trains_in_training_mode(recorded):
    assert len(recorded[0].training) == 20
    assert all(recorded[0].training)


def test_the_loss_is_smoothed_cross_entropy_of_masked_logits(recorded):
    for loss, expected in recorded[0].losses:
        assert loss == pytest.approx(expected, rel=1e-4)


def test_the_learning_rate_warms_up_and_decays_linearly(recorded):
    rates = recorded[0].rates
    assert rates[:5] == pytest.approx([0, LR / 4, LR / 2, LR * 3 / 4, LR])
    assert rates[4:] == pytest.approx([LR * (20 - step) / 16 for step in range(4, 20)])


def test_gradients_are_clipped_by_their_norm(recorded):
    assert max(recorded[0].norms) == pytest.approx(CLIP, rel=1e-3)


def test_gradients_are_freed_before_the_next_batch(recorded):
    assert len(recorded[0].freed) == 20
    assert all(recorded[0].freed)


def test_only_matrices_have_weight_decay(recorded):
    assert [group["weight_decay"] for group in recorded[0].groups] == [DECAY, 0.0]


def test_everything_but_the_frozen_feature_encoder_changes(recorded):
    _, module, before = recorded
    for name, value in module.network.state_dict().items():
        frozen = ".feature_extractor." in name
        assert torch.equal(value, before[name]) == frozen, name


def test_every_epoch_has_another_order(recorded):
    first, second = recorded[0].rows[0], recorded[0].rows[1]
    assert first != second
    assert len(set(first)) == len(first)
