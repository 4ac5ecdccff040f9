"""EmotionClassifier, the LightningModule: loss, optimiser, schedule, metrics."""

import logging
import random
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, get_total_norm
from transformers import get_scheduler

from ser.config.model import Schedule
from ser.config.precision import LIGHTNING, Precision
from ser.data.dataset import Batch
from ser.errors import UserError
from ser.metrics.calibration import TemperatureFit, fit_temperature
from ser.metrics.scores import score
from ser.metrics.selective import choose_threshold
from ser.models.backbone_reference import KEY, BackboneReference, digest
from ser.models.checkpoint import CheckpointMetadata
from ser.models.finetuning import parameter_groups
from ser.models.network import EmotionNetwork
from ser.training.losses import EmotionLoss, mix
from ser.training.targets import Targets

log = logging.getLogger(__name__)
Validated = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # logits, labels and rows
SCALARS = ("accuracy", "uar", "macro_f1")
SCHEDULERS = {
    Schedule.linear: "linear",
    Schedule.cosine: "cosine",
    Schedule.constant: "constant_with_warmup",
}


class TrainingError(UserError):
    """A run that cannot be finished with its settings."""


class EmotionClassifier(LightningModule):
    """An audio classifier in training. Its checkpoints carry the metadata.

    `speakers` are those of the validation part by row, over which the temperature is chosen.
    """

    def __init__(
        self,
        network: EmotionNetwork,
        metadata: CheckpointMetadata,
        targets: Targets | None = None,
        speakers: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(metadata.to_plain(), logger=False)
        self.network, self.metadata = network, metadata
        self.config = metadata.config.model
        self.labels, self.seed = list(metadata.labels), metadata.config.seed
        targets = targets or Targets()
        self.criterion: nn.Module = EmotionLoss(
            self.config, targets.class_weights, targets.frequencies
        )
        self.soft_labels, self.auxiliary = targets.soft_labels, targets.auxiliary
        self.speakers = None if speakers is None else np.asarray(speakers, dtype=str)
        self.validated: list[Validated] = []
        self.temperature: float | None = None
        self.temperature_fit: TemperatureFit | None = None  # of the last validation
        self.threshold: float | None = None
        self.val_uar: float | None = None
        self.validated_step = -1
        self.confusion: list[list[int]] = []  # of the last validation
        self.train_loss = torch.zeros(())  # of the last batch
        self.skipped = torch.zeros(())  # 1 if the last optimiser step was not finite

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) in full precision of waveforms (batch, time)."""
        return self.network(input_values, attention_mask=attention_mask).logits.float()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout and SpecAugment depend on seed, epoch, batch and device only.

        So a resumed run repeats an uninterrupted one, and devices do not drop the same units.
        """
        entropy = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)

    def training_step(self, batch: Batch, batch_idx: int = 0) -> torch.Tensor:
        """The loss, weighted so that every utterance of an optimiser step counts the same."""
        inputs, mask, labels = batch["input_values"], batch["attention_mask"], batch["labels"]
        if self.soft_labels is not None:
            chosen = self.soft_labels[batch["rows"]]
            labels = chosen.to(labels.device, non_blocking=True)  # else every step would wait
        if self.config.mixup > 0:
            entropy = (self.seed, self.current_epoch, self.global_rank, batch_idx)
            mixture = mix(inputs, mask, self.config.mixup, np.random.default_rng(entropy))
            loss = mixture.loss(self.criterion, self(mixture.inputs, mixture.mask), labels)
        elif self.auxiliary is not None:
            features = self.network.embed_utterances(inputs, mask)
            losses = self.auxiliary(features, batch["rows"])
            loss = self.criterion(self.network.classify_features(features).float(), labels)
            loss = loss + self.auxiliary.total(losses)
            for task, value in losses.items():
                self.log(f"train/{task}_loss", value.detach(), batch_size=len(labels))
        else:
            loss = self.criterion(self(inputs, mask), labels)
        self.train_loss = loss.detach()
        # Not for a progress bar of Lightning, which would wait for the GPU in every step.
        self.log("train/loss", loss, on_step=True, batch_size=len(labels))
        return loss * batch["weight"]

    def validation_step(self, batch: Batch) -> torch.Tensor:
        logits = self(batch["input_values"], batch["attention_mask"])
        if batch["weight"]:  # 0: with fewer utterances than devices, another device has it too
            self.validated.append((logits, batch["labels"], torch.tensor(batch["rows"])))
        return logits

    def on_validation_epoch_start(self) -> None:
        self.validated.clear()

    def on_validation_epoch_end(self) -> None:
        """Calibrate, and log the scores of the utterances of all devices together."""
        self.validated_step = self.global_step
        self.check_finite()
        logits, labels, rows = gather_validated(self.validated, self.trainer.world_size)
        self.validated.clear()
        infinite = int((~logits.isfinite().all(1)).sum())
        if infinite:
            raise TrainingError(
                f"the logits of {infinite} validation utterances are not finite; try"
                " trainer.precision=fp32, and check these files"
            )
        groups = None if self.speakers is None else self.speakers[rows.numpy()]
        self.temperature_fit = fit_temperature(logits.numpy(), labels.numpy(), groups)
        self.temperature = self.temperature_fit.temperature
        self.threshold = self.choose_threshold(logits, labels)
        scores = score(labels, logits.argmax(1), self.labels)
        self.val_uar, self.confusion = scores.uar, scores.confusion
        self.log("val/loss", cross_entropy(logits, labels))
        for name in SCALARS:
            self.log(f"val/{name}", getattr(scores, name))
        for emotion, row in scores.classes.items():
            for name in ("precision", "recall", "f1"):
                self.log(f"val/{name}/{emotion}", getattr(row, name))

    def choose_threshold(self, logits: torch.Tensor, labels: torch.Tensor) -> float | None:
        """The calibrated confidence below which predictions are abstained from, if asked for."""
        most = self.config.abstain_error
        if most is None:
            return None
        confidence, predicted = (logits.float() / (self.temperature or 1.0)).softmax(1).max(1)
        chosen = choose_threshold(confidence.numpy(), (predicted == labels).numpy(), most)
        if chosen is None:
            log.warning("model.abstain_error=%g is reached by no confidence threshold", most)
        return chosen

    def check_finite(self) -> None:
        """Raise TrainingError if a weight is infinite or NaN.

        Called before checkpoints are written, so those of the last validation are kept.
        """
        finite = [parameter.isfinite().all() for parameter in self.network.parameters()]
        if bool(torch.stack(finite).all()):  # one synchronisation for all weights
            return
        raise TrainingError(
            f"training diverged in epoch {self.current_epoch + 1}: the weights are not finite; try"
            f" a lower model.lr (now {self.config.lr}), a longer model.warmup_ratio, or"
            " trainer.precision=fp32; the checkpoints of the last validation are kept"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        current = self.validated_step == self.global_step
        checkpoint["temperature"] = self.temperature if current else None
        fit = self.temperature_fit
        checkpoint["temperature_fit"] = asdict(fit) if current and fit else None
        checkpoint["val_uar"] = self.val_uar if current else None
        checkpoint["threshold"] = self.threshold if current else None
        if self.reference is not None:
            checkpoint[KEY] = self.reference.to_plain()

    @cached_property
    def reference(self) -> BackboneReference | None:
        """Where the frozen weights come from; None if few are frozen or they were random."""
        backbone = self.config.backbone
        if not backbone.pretrained:
            return None
        return BackboneReference.of(self.network, backbone.name, backbone.revision)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Fill in the weights that the checkpoint only refers to: the network has them already."""
        state = checkpoint["state_dict"]
        if KEY in checkpoint:
            reference, own = BackboneReference.from_plain(checkpoint[KEY]), self.state_dict()
            frozen = {name: own[f"network.{name}"] for name in reference.weights}
            if any(f"network.{name}" not in state for name in frozen):
                reference.check(digest(frozen))
                state |= {f"network.{name}": value for name, value in frozen.items()}

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.network, self.config)
        if self.auxiliary is not None:
            heads = {"params": list(self.auxiliary.parameters()), "lr": self.config.head_lr}
            groups.append(heads | {"weight_decay": self.config.weight_decay})
        # The fused kernel needs one pass instead of four, half the time even on a CPU. But in
        # fp16 Lightning 2.6 would leave its gradients scaled, and clipping would see them so.
        fused = (
            self.device.type in ("cpu", "cuda")
            and self.trainer.precision != LIGHTNING[Precision.fp16]
        )
        optimizer = torch.optim.AdamW(groups, lr=self.config.lr, fused=fused)
        steps = self.trainer.estimated_stepping_batches
        finite = 0 if steps == float("inf") else int(steps)
        scheduler = get_scheduler(
            SCHEDULERS[self.config.schedule],
            optimizer,
            num_warmup_steps=round(self.config.warmup_ratio * finite),
            num_training_steps=finite,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Free the gradients at once: Lightning 2.6 keeps them during the next forward pass."""
        super().optimizer_step(*args, **kwargs)
        self.zero_grad()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm, and skip the step if the norm is not finite.

        Lightning 2.6 refuses to clip for a fused optimiser in bf16-mixed precision. The fused
        kernel skips a step by itself if `found_inf` is 1, so nothing waits for the GPU here. In
        16-mixed precision the gradient scaler skips it.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_val is None:
            norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        else:
            norm = clip_grad_norm_(parameters, gradient_clip_val)
        self.skipped = (~norm.isfinite()).float()
        if optimizer.defaults["fused"]:
            optimizer.found_inf = self.skipped  # pyright: ignore[reportAttributeAccessIssue]
        elif self.trainer.scaler is None and bool(self.skipped):
            self.zero_grad()
        self.log("train/grad_norm", norm)


def gather_validated(validated: list[Validated], devices: int) -> Validated:
    """Logits (utterances, classes), labels and rows (utterances,) of all devices, on the CPU."""
    own = [tuple(each.cpu() for each in batch) for batch in validated]
    shares: list[Any] = [own]
    if devices > 1:
        shares = [None] * devices
        torch.distributed.all_gather_object(shares, own)
    logits, labels, rows = zip(*(batch for share in shares for batch in share), strict=True)
    return torch.cat(logits), torch.cat(labels), torch.cat(rows)
