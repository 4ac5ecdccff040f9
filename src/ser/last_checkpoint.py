"""What makes a run survive being stopped: whole checkpoints, often enough, at the right moments."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning import Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from ser.atomic import flush

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING, SAVE, LEAVE = 0, 1, 128  # a process that a signal ends exits with 128 + its number


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are on disk whole or not at all, whenever the process or machine dies.

    Lightning 2.6 builds the file a second time in memory, writes it to the system's temporary
    folder and moves it, which is a copy where that is another file system.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        if "://" in str(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")  # one name: the next write takes it over
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
            flush(part)
        except (OSError, RuntimeError) as error:  # torch has its own words for a full disk
            part.unlink(missing_ok=True)
            raise OSError(
                f"{target} cannot be written ({str(error).splitlines()[0]}): make room; what was"
                " saved before is still there"
            ) from error
        part.replace(target)
        return None


class LastCheckpoint(Checkpoint):
    """Keep `last.ckpt`: after each validation, every so often between, and when asked to stop.

    It is written where an optimiser step ends and no validation is due, so that a run resumed
    from it does exactly what is left. Ctrl-C and SIGTERM (Slurm takes a job away) let the step,
    or the validation, come to its end, save, and exit with 130 or 143; a second one does not wait.
    """

    def __init__(
        self,
        dirpath: str,
        every_minutes: float | None = None,
        every_steps: int | None = None,
    ) -> None:
        self.path = Path(dirpath) / "last.ckpt"
        self.every_minutes, self.every_steps = every_minutes, every_steps
        self.step, self.saved_at, self.received = 0, 0.0, NOTHING
        self.handlers: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        # Under torchrun and srun each process has named a folder by its own clock.
        self.path = trainer.strategy.broadcast(self.path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["world_size"] = trainer.world_size

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.step, self.saved_at = trainer.global_step, time.monotonic()
        for number in SIGNALS:
            self.handlers[number] = signal.signal(number, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal until the step is done; do not wait if it comes again."""
        if self.received:
            raise SystemExit(LEAVE + number)
        self.received = LEAVE + number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            return  # gradients that still add up are in no checkpoint
        self.step = trainer.global_step
        if self.step == trainer.max_steps:
            trainer.should_stop = True  # without it Lightning 2.6 ends without a validation
        wanted = self.agree(trainer)
        if wanted and not trainer.should_stop and not validation_due(trainer, batch_idx):
            pl_module.check_finite()
            self.save(trainer, wanted)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.save(trainer, self.agree(trainer))

    def agree(self, trainer: Trainer) -> int:
        """What all devices do now: what the most urgent of them wants."""
        wanted = self.received
        if self.every_steps and self.step % self.every_steps == 0:
            wanted = max(wanted, SAVE)
        seconds = time.monotonic() - self.saved_at
        if self.every_minutes and seconds > self.every_minutes * 60:
            wanted = max(wanted, SAVE)
        if trainer.world_size == 1:
            return wanted
        votes = torch.tensor(wanted, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(votes, reduce_op="max"))

    def save(self, trainer: Trainer, wanted: int) -> None:
        if not cast(Any, trainer).fast_dev_run:
            trainer.save_checkpoint(self.path)
        self.saved_at = time.monotonic()
        if wanted >= LEAVE:
            raise SystemExit(wanted)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        while self.handlers:
            signal.signal(*self.handlers.popitem())


def validation_due(trainer: Trainer, batch_idx: int) -> bool:
    """Whether Lightning validates next, before anything else; the checkpoint follows that."""
    every = trainer.val_check_batch
    last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return last or (every is not None and (batch_idx + 1) % every == 0)
