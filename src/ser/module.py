"""EmotionClassifier, the LightningModule: loss, optimiser, schedule, metrics."""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from transformers import get_scheduler

from ser import figures
from ser.calibration import fit_temperature
from ser.data import Batch
from ser.guards import TrainingError
from ser.losses import EmotionLoss, mix
from ser.metrics import build_metrics
from ser.model import Blueprint
from ser.model_config import ModelConfig, Schedule
from ser.network import EmotionNetwork
from ser.tuning import find_matrices, parameter_groups

log = logging.getLogger(__name__)
SCALARS = ("accuracy", "uar", "macro_f1")
SCHEDULERS = {
    Schedule.linear: "linear",
    Schedule.cosine: "cosine",
    Schedule.constant: "constant_with_warmup",
}


class EmotionClassifier(LightningModule):
    """A Hugging Face audio classifier in training; the blueprint travels in its checkpoints."""

    def __init__(
        self,
        network: EmotionNetwork,
        blueprint: Blueprint,
        config: ModelConfig,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(asdict(blueprint), logger=False)
        self.network, self.config, self.labels = network, config, blueprint.labels
        self.matrices = find_matrices(network)
        self.criterion = EmotionLoss(config, class_weights)
        self.seed = int(blueprint.config["seed"])
        self.synthetic = blueprint.config["data"]["synthetic"] is not None
        self.val_metrics = build_metrics(len(blueprint.labels))
        self.validated: list[tuple[torch.Tensor, torch.Tensor]] = []  # logits and labels
        self.temperature: float | None = None
        self.val_uar: float | None = None
        self.validated_step = -1
        self.weight = 1.0

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) in full precision of waveforms (batch, time)."""
        return self.network(input_values, attention_mask=attention_mask).logits.float()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout and SpecAugment depend on seed, epoch, batch and device alone.

        So a resumed run repeats an uninterrupted one, and no two devices drop the same units.
        """
        entropy = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)
        loader: Any = self.trainer.train_dataloader
        sampler = loader.batch_sampler.sampler  # of batches with their epoch, the one below
        accumulated, limit = self.trainer.accumulate_grad_batches, self.trainer.num_training_batches
        self.weight = sampler.weight(batch_idx, accumulated, limit)

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Each utterance of an optimiser step counts the same, whatever batch it is in."""
        super().backward(loss * self.weight, *args, **kwargs)

    def on_train_start(self) -> None:
        if self.trainer.ckpt_path and self.trainer.is_global_zero:
            log.info("resumed at step %d", self.global_step)

    def training_step(self, batch: Batch, batch_idx: int = 0) -> torch.Tensor:
        inputs, mask, labels = batch["input_values"], batch["attention_mask"], batch["labels"]
        if self.config.mixup > 0:
            entropy = (self.seed, self.current_epoch, self.global_rank, batch_idx)
            mixture = mix(inputs, mask, self.config.mixup, np.random.default_rng(entropy))
            logits = self(mixture.inputs, mixture.mask)
            loss = mixture.loss(self.criterion, logits, labels)
        else:
            logits = self(inputs, mask)
            loss = self.criterion(logits, labels)
        self.log("train/loss", loss, on_step=True, prog_bar=True, batch_size=len(logits))
        return loss

    def validation_step(self, batch: Batch) -> torch.Tensor:
        logits = self(batch["input_values"], batch["attention_mask"])
        loss = cross_entropy(logits, batch["labels"])
        self.log("val/loss", loss, prog_bar=True, batch_size=len(logits))
        self.val_metrics.update(logits, batch["labels"])
        self.validated.append((logits.cpu(), batch["labels"].cpu()))
        return logits

    def on_validation_epoch_start(self) -> None:
        self.validated.clear()

    def on_validation_epoch_end(self) -> None:
        self.validated_step = self.global_step
        self.check_finite()
        logits, labels = (torch.cat(rows).numpy() for rows in zip(*self.validated, strict=True))
        self.temperature = fit_temperature(logits, labels)
        self.validated.clear()
        values = self.val_metrics.compute()
        self.val_metrics.reset()
        self.val_uar = float(values["uar"])
        for name in SCALARS:
            self.log(f"val/{name}", values[name], prog_bar=name == "uar")
        for name in ("precision", "recall", "f1"):
            for emotion, value in zip(self.labels, values[name], strict=True):
                self.log(f"val/{name}/{emotion}", value)
        if self.trainer.is_global_zero:
            scalars = ", ".join(f"{name} {float(values[name]):.3f}" for name in SCALARS)
            log.info("epoch %d, step %d: val %s", self.current_epoch, self.global_step, scalars)
        if isinstance(self.logger, TensorBoardLogger) and self.trainer.is_global_zero:
            picture = figures.draw_confusion(values["confusion"].tolist(), self.labels)
            figures.mark(picture, "val", synthetic=self.synthetic)
            self.logger.experiment.add_figure("val/confusion", picture, self.global_step)

    def check_finite(self) -> None:
        """Raise TrainingError where the weights have become infinite or no number.

        It comes before the checkpoints are written, so those of the last validation are kept.
        """
        if all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            return
        raise TrainingError(
            f"training has diverged in epoch {self.current_epoch}: the weights are not finite any"
            f" more; try a lower model.lr (it is {self.config.lr}), a longer model.warmup_ratio, or"
            " trainer.precision=32-true; the checkpoints of the last validation are kept"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["temperature"] = self.temperature
        checkpoint["val_uar"] = self.val_uar if self.validated_step == self.global_step else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.temperature = checkpoint.get("temperature")

    def predict_step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows (batch,) of the part and their logits (batch, classes)."""
        return batch["rows"], self(batch["input_values"], batch["attention_mask"])

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.network, self.config, self.matrices)
        # The fused kernel does in one pass what takes four: half the time even on a CPU. But in
        # fp16 Lightning 2.6 would leave its gradients scaled, and clipping would see them so.
        fused = self.device.type in ("cpu", "cuda") and self.trainer.precision != "16-mixed"
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
        """Free the gradients at once: Lightning 2.6 keeps them through the next forward pass."""
        super().optimizer_step(*args, **kwargs)
        self.zero_grad()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm here: Lightning 2.6 refuses a fused optimiser in bf16-mixed precision."""
        if gradient_clip_val is None:
            return
        model = self.trainer.model
        if isinstance(model, FullyShardedDataParallel):  # each device holds a part of each gradient
            norm = model.clip_grad_norm_(gradient_clip_val)
        else:
            norm = clip_grad_norm_(parameters_of(optimizer), gradient_clip_val)
        self.log("train/grad_norm", norm)


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
