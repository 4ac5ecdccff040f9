"""Keep `last.ckpt`, so that a run survives being stopped."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from ser.config.train import LAST_CHECKPOINT
from ser.system.signals import STOP_SIGNALS

SIGNALS = [signal.SIGINT, *STOP_SIGNALS]
NOTHING, SAVE, EXIT = 0, 1, 128  # a process ended by a signal exits with 128 + its number


class LastCheckpoint(Checkpoint):
    """Write `last.ckpt` after each validation, at intervals in between, and when asked to stop.

    Between validations it is written after an optimiser step, unless a validation comes next, so
    that a run resumed from it does exactly what is left. Ctrl-C, SIGTERM (Slurm ends a job) and
    SIGHUP (a terminal closes) let the step or the validation finish, save, and exit with 128 plus
    the number of the signal. A second signal exits at once.
    """

    def __init__(
        self,
        dirpath: str,
        every_minutes: float | None = None,
        every_steps: int | None = None,
    ) -> None:
        self.path = Path(dirpath) / LAST_CHECKPOINT.name
        self.every_minutes, self.every_steps = every_minutes, every_steps
        self.step, self.saved_at, self.received = 0, 0.0, NOTHING
        self.handlers: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        # Under torchrun and srun every process has named a folder by its own clock.
        self.path = trainer.strategy.broadcast(self.path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["world_size"] = trainer.world_size

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.step, self.saved_at = trainer.global_step, time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread receives signals
        for number in SIGNALS:
            self.handlers[number] = signal.signal(number, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal until the step is done; exit at once if a second one comes."""
        if self.received:
            raise SystemExit(EXIT + number)
        self.received = EXIT + number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            return  # accumulated gradients are in no checkpoint
        self.step = trainer.global_step
        if self.step == trainer.max_steps:
            trainer.should_stop = True  # without it Lightning 2.6 ends without a validation
        wanted = self.agree(trainer)
        if wanted and not trainer.should_stop and not validation_due(trainer, batch_idx):
            pl_module.check_finite()
            self.save(trainer, wanted)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.save(trainer, self.agree(trainer, always=True))

    def agree(self, trainer: Any, *, always: bool = False) -> int:
        """What all devices do now: what the most urgent of them wants.

        Several devices ask each other at log steps and every `every_steps`, not in between, because
        asking waits for the slowest.
        """
        wanted = self.received
        due = self.every_steps is not None and self.step % self.every_steps == 0
        if due:
            wanted = max(wanted, SAVE)
        seconds = time.monotonic() - self.saved_at
        if self.every_minutes and seconds > self.every_minutes * 60:
            wanted = max(wanted, SAVE)
        if trainer.world_size == 1:
            return wanted
        if not (always or due) and self.step % trainer.log_every_n_steps:
            return NOTHING
        votes = torch.tensor(wanted, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(votes, reduce_op="max"))

    def save(self, trainer: Trainer, wanted: int) -> None:
        if not cast(Any, trainer).fast_dev_run:
            trainer.save_checkpoint(self.path)
        self.saved_at = time.monotonic()
        if wanted >= EXIT:
            raise SystemExit(wanted)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        while self.handlers:
            signal.signal(*self.handlers.popitem())


def validation_due(trainer: Trainer, batch_idx: int) -> bool:
    """Whether Lightning validates next; the checkpoint is then written after the validation."""
    every = trainer.val_check_batch
    last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return last or (every is not None and (batch_idx + 1) % every == 0)
