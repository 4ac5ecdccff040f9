"""A run that goes wrong says so in a sentence, and what to try."""

import logging
import math
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)
NAMED = 5  # utterances of a batch in a message
NEAR = 0.02  # a loss within this share of that of guessing is no better than guessing


class TrainingError(ValueError):
    """A run that its settings cannot bring to an end: others may."""


class Guards(Callback):
    """Stop at a loss that is no number, and warn of a network that has collapsed.

    The warning comes once, after `patience` validations in a row.
    """

    def __init__(self, patience: int = 2) -> None:
        self.patience = patience
        self.rows = torch.empty(0, dtype=torch.long)
        self.one_class, self.guessing = 0, 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.rows = batch["rows"]

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: torch.Tensor) -> None:
        """Raise TrainingError, before the weights are touched, where the loss is not finite."""
        if bool(loss.isfinite()):
            return
        data: Any = cast(Any, trainer).datamodule
        utterances = data.manifest.part("train").iloc[self.rows.tolist()]
        more = f" and {len(utterances) - NAMED} more" if len(utterances) > NAMED else ""
        names = ", ".join(utterances["id"].head(NAMED)) + more
        raise TrainingError(
            f"the loss is {loss.item()} in epoch {trainer.current_epoch}, step"
            f" {trainer.global_step}, of the batch {names}: try a lower model.lr (it is"
            f" {pl_module.config.lr}) or trainer.precision=32-true, and listen to these files; the"
            " checkpoints of before are kept"
        )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Count the validations in a row that took everything for one class."""
        if trainer.sanity_checking:
            return
        confusion = pl_module.val_metrics["confusion"].compute()
        predicted, true = (confusion.sum(0) > 0).nonzero().flatten(), (confusion.sum(1) > 0).sum()
        collapsed = len(predicted) == 1 and int(true) > 1
        self.one_class = self.one_class + 1 if collapsed else 0
        if self.one_class == self.patience:
            log.warning(
                "The last %d validations took every utterance for %s: the network has collapsed."
                " Try a lower model.lr (it is %g), a longer model.warmup_ratio (it is %g), or more"
                " utterances a step (data.batch_size, trainer.accumulate_grad_batches).",
                *(self.patience, pl_module.labels[int(predicted[0])]),
                *(pl_module.config.lr, pl_module.config.warmup_ratio),
            )

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Count the validations in a row that were no better than guessing."""
        loss = trainer.callback_metrics.get("val/loss")
        if loss is None or trainer.sanity_checking:
            return
        chance = math.log(len(pl_module.labels))
        self.guessing = self.guessing + 1 if abs(float(loss) / chance - 1) < NEAR else 0
        if self.guessing == self.patience:
            log.warning(
                "In the last %d validations the loss stayed at ln(%d) = %.2f, which is that of"
                " guessing: nothing is learned. Try another model.lr (it is %g), more epochs, and"
                " a look at the labels in manifest.csv.",
                *(self.patience, len(pl_module.labels), chance, pl_module.config.lr),
            )

    def state_dict(self) -> dict[str, Any]:
        return {"one_class": self.one_class, "guessing": self.guessing}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.one_class, self.guessing = state_dict["one_class"], state_dict["guessing"]
