"""Warn about runs that do not learn, and stop runs that cannot continue."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from ser.training.module import TrainingError

log = logging.getLogger(__name__)
NAMED = 5  # utterances of a batch in a message
NEAR = 0.02  # a loss within this share of the entropy of the labels is not below it


class Guards(Callback):
    """Report steps that were skipped because a gradient was not finite, and networks at chance.

    Such steps leave the weights untouched (see `EmotionClassifier`). They are read at log steps
    only, because reading a value from a GPU waits for it. The warnings about chance level come
    once, after `patience` validations in a row.
    """

    def __init__(self, patience: int = 2) -> None:
        self.patience = patience
        self.rows: list[int] = []  # of the batches of the present optimiser step
        self.steps: list[tuple[torch.Tensor, list[int]]] = []  # skipped or not, and which rows
        self.step = 0
        self.one_class, self.at_chance = 0, 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raise TrainingError at a log step if every step since the last one was skipped."""
        self.rows += batch["rows"]
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        self.steps.append((pl_module.skipped, self.rows))
        self.rows = []
        every = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if self.step % every == 0 or trainer.is_last_batch:
            self.report(trainer, pl_module)

    def report(self, trainer: Any, pl_module: Any) -> None:
        """Read which steps were skipped, and name the utterances of the first one."""
        skipped = torch.stack([flag for flag, _ in self.steps]).bool().tolist()
        rows = [rows for (_, rows), bad in zip(self.steps, skipped, strict=True) if bad]
        count, self.steps = len(self.steps), []
        if not rows or searches_scale(trainer):
            return
        utterances = trainer.datamodule.manifest.part("train").iloc[rows[0]]
        more = f" and {len(utterances) - NAMED} more" if len(utterances) > NAMED else ""
        names = ", ".join(utterances["id"].head(NAMED)) + more
        message = (
            f"{len(rows)} of the last {count} optimiser steps had a loss or gradient that is not"
            f" finite and were skipped; the first was on {names}. Try a lower model.lr (now"
            f" {pl_module.config.lr:g}) or trainer.precision=fp32, and check these files"
        )
        if len(rows) == count:
            raise TrainingError(f"{message}; the checkpoints written so far are kept")
        log.warning(message)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.count_collapsed(pl_module)
            self.count_at_chance(pl_module, float(trainer.callback_metrics["val/loss"]))

    def count_collapsed(self, pl_module: Any) -> None:
        """Count the validations in a row that predicted a single class."""
        confusion = np.array(pl_module.confusion)
        predicted = np.flatnonzero(confusion.sum(axis=0))
        collapsed = len(predicted) == 1 and np.count_nonzero(confusion.sum(axis=1)) > 1
        self.one_class = self.one_class + 1 if collapsed else 0
        if self.one_class == self.patience:
            log.warning(
                "The last %d validations predicted %s for every utterance: the network has"
                " collapsed. Try a lower model.lr (now %g), a longer model.warmup_ratio (now %g),"
                " or a larger batch (data.batch_size, trainer.accumulate_grad_batches).",
                *(self.patience, pl_module.labels[predicted[0]]),
                *(pl_module.config.lr, pl_module.config.warmup_ratio),
            )

    def count_at_chance(self, pl_module: Any, loss: float) -> None:
        """Count the validations in a row that were no better than the class frequencies."""
        chance = chance_level([sum(row) for row in pl_module.confusion])
        same = loss >= (1 - NEAR) * chance.loss and pl_module.val_uar <= 1.1 * chance.uar
        same = same and chance.uar < 1  # with a single class every prediction is at chance
        self.at_chance = self.at_chance + 1 if same else 0
        if self.at_chance == self.patience:
            log.warning(
                "In the last %d validations the loss (%.2f) was not below the entropy of the"
                " labels (%.2f) and UAR was at chance: nothing is learned. Try another model.lr"
                " (now %g), more epochs, and check the labels in manifest.csv.",
                *(self.patience, loss, chance.loss, pl_module.config.lr),
            )

    def state_dict(self) -> dict[str, Any]:
        return {"one_class": self.one_class, "at_chance": self.at_chance}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.one_class = state_dict.get("one_class", 0)
        self.at_chance = state_dict.get("at_chance", 0)


def searches_scale(trainer: Any) -> bool:
    """Whether skipped steps are normal: in 16-mixed precision the loss scale starts too high.

    Each skipped step halves the scale. Below 1 the gradients themselves are not finite.
    """
    return trainer.scaler is not None and trainer.scaler.get_scale() >= 1


@dataclass(frozen=True)
class Chance:
    """The loss and the UAR of a model that knows the class frequencies only."""

    loss: float
    uar: float


def chance_level(support: list[int]) -> Chance:
    """Chance level for these numbers of utterances per class: entropy in nats, and 1 / classes."""
    total, present = sum(support), [count for count in support if count]
    entropy = -sum(count / total * math.log(count / total) for count in present)
    return Chance(entropy, 1 / len(present))
