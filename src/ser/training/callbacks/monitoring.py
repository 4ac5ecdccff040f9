"""Log speed, GPU memory, the confusion matrix and the worst validation errors."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch.nn.functional import cross_entropy

from ser.figures.confusion import draw_confusion
from ser.figures.style import mark
from ser.training.loggers import log_audio, log_figure, log_text


@dataclass(frozen=True)
class ValidationError:
    """A misclassified validation utterance, by its row in the part."""

    loss: float
    row: int
    label: int
    predicted: int
    probability: float


@dataclass
class Meter:
    """What was trained since the last reading, and the seconds spent on loading and training."""

    utterances: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    worked: float = 0.0

    def read(self, devices: int) -> dict[str, float]:
        """Scalars over all devices; `data_wait` is the share of the time spent on loading."""
        elapsed = self.waited + self.worked
        return {
            "speed/utterances_per_second": devices * self.utterances / elapsed,
            "speed/audio_seconds_per_second": devices * self.seconds / elapsed,
            "speed/data_wait": self.waited / elapsed,
        }


class Monitoring(Callback):
    """Log throughput, data wait, GPU memory, the confusion matrix and the worst errors.

    Validation and the writing of checkpoints count neither as work nor as waiting. With several
    devices, the worst errors are those of the first device.
    """

    def __init__(self, worst_errors: int = 4) -> None:
        self.worst_errors = worst_errors
        self.meter, self.clock = Meter(), 0.0
        self.batches: list[tuple[torch.Tensor, torch.Tensor, list[int]]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.clock = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self.clock:
            self.meter.waited += now - self.clock
        self.clock = now

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.meter.worked += now - self.clock
        self.meter.utterances += len(batch["rows"])
        self.meter.seconds += batch["seconds"]
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:
            scalars = self.meter.read(trainer.world_size) | read_memory(pl_module.device)
            for logger in trainer.loggers:
                logger.log_metrics(scalars, step=trainer.global_step)
            self.meter = Meter()
        self.clock = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.batches = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.worst_errors and isinstance(outputs, torch.Tensor):
            self.batches.append((outputs, batch["labels"], batch["rows"]))

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.clock = time.perf_counter()
        if trainer.sanity_checking or not trainer.loggers or not trainer.is_global_zero:
            return
        figure = draw_confusion(pl_module.confusion, pl_module.labels)
        mark(figure, "validation part", synthetic=pl_module.metadata.synthetic)
        log_figure(trainer, "val/confusion", figure)
        log_errors(trainer, pl_module.labels, self.find_worst())

    def find_worst(self) -> list[ValidationError]:
        """The errors of the last validation with the highest loss, the highest first."""
        if not self.batches:
            return []
        logits = torch.cat([each for each, _, _ in self.batches]).float().cpu()
        labels = torch.cat([each for _, each, _ in self.batches]).cpu()
        rows = [row for _, _, each in self.batches for row in each]
        self.batches = []
        losses = cross_entropy(logits, labels, reduction="none")
        probabilities, predicted = logits.softmax(1).max(1)
        wrong = (predicted != labels).nonzero().flatten()
        worst = wrong[losses[wrong].argsort(descending=True)][: self.worst_errors].tolist()
        return [
            ValidationError(
                losses[place].item(),
                rows[place],
                int(labels[place]),
                int(predicted[place]),
                probabilities[place].item(),
            )
            for place in worst
        ]


def read_memory(device: torch.device) -> dict[str, float]:
    """The peak GPU memory so far in GiB; nothing for a CPU."""
    if device.type != "cuda":
        return {}
    return {"speed/gpu_memory_gib": torch.cuda.max_memory_allocated(device) / 2**30}


def log_errors(trainer: Any, labels: list[str], errors: list[ValidationError]) -> None:
    """Log the audio of errors, each with a caption, and a table of all of them."""
    data = trainer.datamodule
    part = data.manifest.part("val")
    lines = ["| | utterance | label | prediction | probability |", "|---|---|---|---|---|"]
    clips = {}
    for number, error in enumerate(errors, start=1):
        row = part.iloc[error.row]
        true, predicted = labels[error.label], labels[error.predicted]
        caption = f"{row['id']}: {true} predicted as {predicted}"
        clips[caption] = data.cache.read(row["content"])
        probability = f"{error.probability:.3f}"
        lines.append(f"| {number} | {row['id']} | {true} | {predicted} | {probability} |")
    log_audio(trainer, "val/worst_errors", clips)
    log_text(trainer, "val/worst_errors", "\n".join(lines))
