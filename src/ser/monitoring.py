"""What TensorBoard shows of a run besides its losses and scores: speed, memory, worst errors."""

import time
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn.functional import cross_entropy
from torch.nn.utils import get_total_norm

from ser.audio import SAMPLE_RATE


@dataclass(frozen=True)
class ValidationError:
    """A validation utterance (a row of its part) taken for another label."""

    loss: float
    row: int
    label: int
    predicted: int
    probability: float


@dataclass
class Meter:
    """What was trained on since the last reading, and the seconds that loading it took."""

    utterances: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    worked: float = 0.0

    def read(self, devices: int) -> dict[str, float]:
        """Scalars over all devices; `data_wait` is the share of time without anything to do."""
        elapsed = self.waited + self.worked
        return {
            "speed/utterances_per_second": devices * self.utterances / elapsed,
            "speed/audio_seconds_per_second": devices * self.seconds / elapsed,
            "speed/data_wait": self.waited / elapsed,
        }


class Monitoring(Callback):
    """Log throughput, data wait, GPU memory and gradient norm, and play the worst errors.

    Validation and the writing of checkpoints count neither as work nor as waiting.
    """

    def __init__(self, worst_errors: int = 4) -> None:
        self.worst_errors = worst_errors
        self.meter, self.clock = Meter(), 0.0
        self.mistakes: list[ValidationError] = []

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
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.meter.worked += now - self.clock
        self.meter.utterances += len(batch["labels"])
        dataset = cast(Any, trainer).train_dataloader.dataset  # its batches may be hidden states
        self.meter.seconds += float(dataset.seconds[batch["rows"].cpu()].sum())
        every = cast(Any, trainer).log_every_n_steps
        if (batch_idx + 1) % every == 0:
            scalars = self.meter.read(trainer.world_size) | read_memory(pl_module.device)
            log_scalars(trainer, scalars)
            self.meter = Meter()
        self.clock = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: Any, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the gradient norm, which clipping would have told."""
        if trainer.gradient_clip_val is None and is_due(trainer):
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
            log_scalars(trainer, {"train/grad_norm": float(norm)})

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.mistakes = []

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
            found = [*self.mistakes, *find_errors(outputs, batch)]
            found.sort(key=lambda mistake: -mistake.loss)
            self.mistakes = found[: self.worst_errors]

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.clock = time.perf_counter()
        for logger in trainer.loggers:
            quiet = trainer.sanity_checking or not trainer.is_global_zero
            if isinstance(logger, TensorBoardLogger) and not quiet:
                play(self.mistakes, cast(Any, trainer), pl_module.labels, logger)


def is_due(trainer: Trainer) -> bool:
    return trainer.global_step % cast(Any, trainer).log_every_n_steps == 0


def log_scalars(trainer: Trainer, scalars: dict[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step=trainer.global_step)


def read_memory(device: torch.device) -> dict[str, float]:
    """The most memory that the GPU has held at once so far, in GiB; nothing for a CPU."""
    if device.type != "cuda":
        return {}
    return {"speed/gpu_memory_gib": torch.cuda.max_memory_allocated(device) / 2**30}


def find_errors(logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> list[ValidationError]:
    """The wrong ones of a batch, from logits (batch, classes)."""
    losses = cross_entropy(logits, batch["labels"], reduction="none")
    probabilities, predicted = logits.softmax(1).max(1)
    wrong = (predicted != batch["labels"]).nonzero().flatten().tolist()
    return [
        ValidationError(
            losses[place].item(),
            int(batch["rows"][place]),
            int(batch["labels"][place]),
            int(predicted[place]),
            probabilities[place].item(),
        )
        for place in wrong
    ]


def play(
    mistakes: list[ValidationError], trainer: Any, labels: list[str], logger: TensorBoardLogger
) -> None:
    """Write the audio of mistakes, and a table of what they are and were taken for."""
    data, board, step = trainer.datamodule, logger.experiment, trainer.global_step
    part = data.manifest.part("val")
    lines = ["| | utterance | is | taken for | with |", "|---|---|---|---|---|"]
    for number, mistake in enumerate(mistakes, start=1):
        row = part.iloc[mistake.row]
        waveform = torch.from_numpy(data.cache.read(row["content"]).copy())[None]
        board.add_audio(f"val/worst_errors/{number}", waveform, step, SAMPLE_RATE)
        lines.append(
            f"| {number} | {row['id']} | {labels[mistake.label]}"
            f" | {labels[mistake.predicted]} | {mistake.probability:.0%} |"
        )
    board.add_text("val/worst_errors", "\n".join(lines), step)
