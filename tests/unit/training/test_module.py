"""Steps of the module in a Trainer: gradients, synchronisation, non-finite values."""

import traceback
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from ser.config.model import Mode
from ser.models import feature_encoder
from ser.models.families import base
from ser.training import module as module_file
from ser.training.callbacks.guards import Guards
from ser.training.module import TrainingError


class Gradients(Callback):
    """Keeps the gradients of every optimiser step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
        self.steps.append(torch.cat(gradients))


@pytest.mark.parametrize("weights", [None, [1.0, 2, 3, 4, 5, 6, 7, 8]])
@pytest.mark.parametrize("count", [9, 10])
def test_accumulated_batches_give_the_gradient_of_one_large_batch(
    fit, settings, kinds, make_batches, count, weights
):
    """In three batches of at most four, so they differ in size."""
    kind, seen = kinds["wav2vec2-layer"], []
    for batch_size, accumulate in ((count, 1), (4, 3)):
        gradients = Gradients()
        config = settings(
            kind, callbacks={}, accumulate_grad_batches=accumulate, gradient_clip_val=None
        )
        fit(config, make_batches(count, batch_size, accumulate), gradients, weights=weights)
        assert len(gradients.steps) == 1
        seen.append(gradients.steps[0])
    assert (seen[1] - seen[0]).norm() < 1e-4 * seen[0].norm()


READS = ("item", "__bool__", "__int__", "__float__", "__index__", "tolist", "cpu", "numpy")


class Synchronisations(Callback):
    """Counts what would wait for a GPU, from the second step to the last but one.

    Our own copies to a device wait unless they are `non_blocking`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.active, self.found = False, []
        for name in (*READS, "nonzero", "to"):
            original = getattr(torch.Tensor, name)
            monkeypatch.setattr(torch.Tensor, name, self.counting(name, original))
        for module in (feature_encoder, base):  # as if the tensors were on a GPU
            monkeypatch.setattr(module, "is_readable", lambda tensor: False)

    def counting(self, name: str, original: Any) -> Any:
        def count(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            if self.active and (name != "to" or copies_and_waits(arguments, options)):
                self.found.append(f"{name}: {''.join(traceback.format_stack(limit=14)[:-1])}")
            return original(tensor, *arguments, **options)

        return count

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        self.active = self.active or batch_idx == 1

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ):
        if batch_idx == 6:
            self.active = False


def copies_and_waits(arguments: Any, options: Any) -> bool:
    """Whether a call of `Tensor.to`, two frames up, is a copy of ours that waits."""
    ours = "/ser/" in traceback.extract_stack(limit=3)[0].filename
    device = bool(arguments) and isinstance(arguments[0], torch.device)
    return ours and device and not options.get("non_blocking", False)


OPTIONS: dict[str, dict[str, Any]] = {
    "full": {"freeze_feature_encoder": False, "layerdrop": 0.3},
    "mixup and weights": {"mixup": 0.4, "label_smoothing": 0.1},
    "lora": {"mode": Mode.lora, "weighted_layers": True},
    "top layer": {"top_layers": 1, "gradient_checkpointing": True},
    "targets": {"soft_labels": True, "auxiliary": {"gender": 0.1}, "adversarial": ["gender"]},
}


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("wav2vec2-group", "full"),
        ("data2vec-audio", "mixup and weights"),
        ("wavlm-layer", "lora"),
        ("wav2vec2-layer", "top layer"),
        ("wav2vec2-layer", "targets"),
        ("whisper-silence", "full"),
    ],
)
def test_no_training_step_waits_for_a_gpu_between_log_steps(
    fit, settings, kinds, make_batches, monkeypatch, kind, option
):
    """With all callbacks and loggers, SpecAugment and clipping."""
    model = OPTIONS[option] | {"mask_time_prob": 0.2, "mask_feature_prob": 0.2}
    config = settings(kinds[kind], model, log_every_n_steps=20)
    counted = Synchronisations(monkeypatch)
    fit(config, make_batches(16, 2), counted, weights=[1.0, 2, 3, 4, 5, 6, 7, 8])
    assert counted.found == []


class Poison(Callback):
    """Sets an input of some batches to NaN, and keeps the weights after each batch."""

    def __init__(self, *batches: int) -> None:
        self.batches, self.weights = batches, []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int):
        if batch_idx in self.batches:
            batch["input_values"][0, 0] = float("nan")

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ):
        flat = [p.detach().flatten() for p in pl_module.parameters()]
        self.weights.append(torch.cat(flat).clone())


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_non_finite_step_leaves_the_weights_and_is_reported(
    fit, settings, kinds, make_batches, caplog, clip
):
    batches, poison = make_batches(12, 2), Poison(2)
    config = settings(kinds["wav2vec2-layer"], callbacks={}, gradient_clip_val=clip)
    module, _ = fit(config, batches, poison, Guards())
    moved = [
        not torch.equal(*pair) for pair in zip(poison.weights, poison.weights[1:], strict=False)
    ]
    assert moved == [True, False, True, True, True]
    assert all(weights.isfinite().all() for weights in poison.weights)
    assert f"noise/{batches[2]['rows'][0]}" in caplog.text
    assert "1 of the last 6" in caplog.text
    optimizer: Any = module.optimizers()
    steps = {int(state["step"]) for state in optimizer.state.values()}
    assert steps == {5}  # the moments of the optimiser do not count the skipped step


def test_a_run_of_non_finite_steps_only_is_stopped(fit, settings, kinds, make_batches):
    config = settings(kinds["wav2vec2-layer"], callbacks={}, log_every_n_steps=3)
    with pytest.raises(TrainingError, match="3 of the last 3"):
        fit(config, make_batches(12, 2), Poison(*range(6)), Guards())


def test_a_non_finite_batch_makes_its_whole_accumulated_step_void(
    fit, settings, kinds, make_batches
):
    poison = Poison(1)
    config = settings(kinds["wav2vec2-layer"], callbacks={}, accumulate_grad_batches=2)
    fit(config, make_batches(16, 2, 2), poison, Guards())
    moved = [
        not torch.equal(*pair) for pair in zip(poison.weights, poison.weights[1:], strict=False)
    ]
    assert moved == [False, False, True, False, True, False, True]


def test_random_numbers_depend_on_seed_epoch_batch_and_device(make_module, settings, kinds):
    module: Any = make_module(settings(kinds["wav2vec2-layer"]))
    drawn = []
    for batch in (3, 3, 4):
        module.on_train_batch_start({}, batch)
        drawn.append((torch.rand(1).item(), float(np.random.random())))
    assert drawn[0] == drawn[1] != drawn[2]


def test_validation_logits_that_are_not_finite_stop_the_run(fit, settings, kinds, make_batches):
    batches = make_batches(4, 2)
    batches[0]["input_values"][0, 0] = float("inf")
    with pytest.raises(TrainingError, match="1 validation utterance"):
        fit(settings(kinds["wav2vec2-layer"], callbacks={}), batches)


def test_validation_scores_count_the_utterances_of_all_devices(
    fit, settings, kinds, make_batches, monkeypatch
):
    """With devices that share the validation part, each must choose the same checkpoint."""
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 8
    gather, gathered = module_file.gather_validated, []

    def with_another_device(own: Any, devices: int) -> Any:
        gathered.append(gather([*own, (logits, labels, torch.arange(50))], devices))
        return gathered[-1]

    monkeypatch.setattr(module_file, "gather_validated", with_another_device)
    module, trainer = fit(settings(kinds["wav2vec2-layer"], callbacks={}), make_batches(4, 2))
    [(logits, labels, _)] = gathered
    assert len(labels) == 54
    expected = balanced_accuracy_score(labels, logits.argmax(1))
    assert float(trainer.callback_metrics["val/uar"]) == pytest.approx(expected)
    assert module.val_uar == pytest.approx(expected)
    assert module.confusion == confusion_matrix(labels, logits.argmax(1), labels=range(8)).tolist()


def test_weights_that_are_not_finite_stop_the_run(make_module, settings, kinds):
    module = make_module(settings(kinds["wav2vec2-layer"]))
    module.check_finite()
    module.network.classifier.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match=r"model\.lr"):
        module.check_finite()
