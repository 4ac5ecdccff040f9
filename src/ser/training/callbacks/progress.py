"""What the terminal shows during training: a bar, and one permanent line per epoch."""

import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from ser.config.callbacks import mode_of
from ser.system.progress import progress_bar
from ser.system.terminal import LogFormatter, find_width

log = logging.getLogger(__name__)


class EpochLog(Callback):
    """Log one line per validation: losses, accuracy, UAR, best value, learning rate, time.

    A narrow terminal has room for the first of these only.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor, self.best = monitor, float("nan")
        self.loss: Any = 0.0  # summed over the batches since the last validation
        self.batches = 0
        self.epoch = 0  # counted from 1; 0 before the first one
        self.started = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.epoch = trainer.current_epoch + 1
        self.started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.epoch = trainer.current_epoch + 1  # a run resumed within an epoch starts none
        self.loss = self.loss + pl_module.train_loss
        self.batches += 1

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        score = values.get(self.monitor)
        if score is not None:
            better = min if mode_of(self.monitor) == "min" else max
            self.best = score if self.best != self.best else better(self.best, score)
        loss, accuracy, uar = (
            values.get(f"val/{name}", float("nan")) for name in ("loss", "accuracy", "uar")
        )
        if not trainer.optimizers:  # of a fitted head, whose loss means nothing uncalibrated
            log.info("Validation: UAR %.3f, accuracy %.3f", uar, accuracy)
            return
        losses = f"val loss {loss:.3f}"
        if self.batches:  # none if a run is resumed just before a validation
            losses = f"train loss {float(self.loss) / self.batches:.3f}, {losses}"
        self.loss, self.batches = 0.0, 0
        rate = trainer.optimizers[0].param_groups[0]["lr"]  # 0 at the end of a schedule
        parts = [
            f"epoch {self.epoch}: {losses}",
            f"val UAR {uar:.3f}",
            f"best {self.best:.3f}",
            f"val accuracy {accuracy:.3f}",
            *([f"next lr {rate:.1e}"] if rate else []),
            f"{time.monotonic() - self.started:.0f} s",
        ]
        log.info(join_parts(parts, find_width(sys.stdout)))

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def join_parts(parts: Sequence[str], width: int | None) -> str:
    """The parts with commas between them; those that a line of a terminal has no room for left out.

    The time and the other values are in the log of the run too.
    """
    line, room = parts[0], math.inf if width is None else width - len(LogFormatter.INDENT)
    for part in parts[1:]:
        if len(line) + len(part) + 2 > room:
            break
        line += f", {part}"
    return line


class ProgressBar(Callback):
    """A bar of the batches of an epoch, below the log lines. Hidden if there is no terminal.

    It is updated every `refresh_rate` batches.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        self.refresh_rate = refresh_rate
        self.bar: Any = None
        self.redirected: Any = None
        self.drawn = 0.0  # time of the last refresh in seconds

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        console = Console()
        if not trainer.is_global_zero or not console.is_terminal:
            return
        # Drawn by this thread alone: in Rich 15, a thread that refreshes the bar while a line is
        # printed above it may leave a copy of the bar behind.
        self.bar = progress_bar("batches", console=console, transient=True, auto_refresh=False)
        self.bar.start()
        self.redirected = logs_above_bar()
        self.redirected.__enter__()
        self.task = self.bar.add_task("", total=None)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if self.bar is not None:
            last = trainer.max_epochs
            epochs = f"/{last}" if last and last > 0 else ""
            name = f"Epoch {trainer.current_epoch + 1}{epochs}"
            self.bar.reset(self.task, description=name, total=trainer.num_training_batches)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.bar is not None and (batch_idx + 1) % self.refresh_rate == 0:
            self.bar.update(self.task, completed=batch_idx + 1)
            self._refresh()

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.bar is not None:
            total = sum(trainer.num_val_batches)  # pyright: ignore[reportArgumentType]
            self.validation = self.bar.add_task("Validating", total=total)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.advance(self.validation)
            self._refresh()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self.bar is not None:
            self.bar.remove_task(self.validation)
            self.bar.refresh()

    def _refresh(self) -> None:
        """Draw the bar at most ten times per second."""
        if time.monotonic() >= self.drawn + 0.1:
            self.bar.refresh()
            self.drawn = time.monotonic()

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self.bar is not None:
            self.redirected.__exit__(None, None, None)
            self.bar.stop()
            self.bar = None

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")


@contextmanager
def logs_above_bar() -> Iterator[None]:
    """Let log handlers write through the running bar, which replaces sys.stdout and sys.stderr.

    A handler that keeps the stream it was given would write into the middle of the bar.
    """
    changed = []
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            for name in ("stdout", "stderr"):
                if handler.stream is getattr(sys, f"__{name}__"):
                    changed.append((handler, handler.setStream(getattr(sys, name))))
                    break
    try:
        yield
    finally:
        for handler, stream in changed:
            handler.setStream(stream)
