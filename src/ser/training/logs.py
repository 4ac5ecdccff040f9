"""The learning curves of a run, from its TensorBoard or CSV log, and the HParams table."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser.figures.curves import Curve
from ser.metrics.scores import Scores

PANELS = {
    "Loss": {"train/loss": "training", "val/loss": "validation"},
    "Validation scores": {"val/uar": "UAR", "val/macro_f1": "macro F1", "val/accuracy": "accuracy"},
}
EPOCH = "epoch"
TEST_SCALARS = ("test/uar", "test/accuracy", "test/macro_f1")
MOST = 1000  # points of a curve; a figure does not show more


@dataclass(frozen=True)
class History:
    """Scalars by name, each as steps and values."""

    scalars: Mapping[str, Curve]

    def panels(self) -> dict[str, dict[str, Curve]]:
        """The curves of each of PANELS that were logged, without panels of single points.

        A fitted head has one validation.
        """
        found = {
            title: {
                label: self.scalars[name] for name, label in names.items() if name in self.scalars
            }
            for title, names in PANELS.items()
        }
        return {
            title: curves
            for title, curves in found.items()
            if any(len(steps) > 1 for steps, _ in curves.values())
        }

    @property
    def epochs(self) -> int | None:
        """The number of epochs that were trained, None if it was not logged."""
        values = self.scalars.get(EPOCH, ((), ()))[1]
        return int(max(values)) + 1 if values else None

    def last_validation(self, trained: int) -> float | None:
        """The step of the last validation after at most this many optimiser steps."""
        steps = self.scalars.get("val/uar", ((), ()))[0]
        return max((step for step in steps if step <= trained), default=None)

    def epoch_at(self, step: float) -> int | None:
        """The epoch, counted from 1, in which a step was trained."""
        steps, values = self.scalars.get(EPOCH, ((), ()))
        before = [value for place, value in zip(steps, values, strict=True) if place <= step]
        return int(before[-1]) + 1 if before else None


def read(folder: Path) -> History | None:
    """The log in a run folder, or None if nothing was logged."""
    if (folder / "tensorboard").is_dir():
        scalars = read_events(folder / "tensorboard")
    elif (folder / "csv" / "metrics.csv").is_file():
        scalars = read_csv(folder / "csv" / "metrics.csv")
    else:
        return None
    return History(scalars) if scalars else None


def read_events(folder: Path) -> dict[str, Curve]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it logs each file that it reads
    guidance = {"scalars": MOST, "images": 1, "audio": 1, "tensors": 1}
    events = EventAccumulator(str(folder), size_guidance=guidance).Reload()
    curves = {}
    for name in events.Tags()["scalars"]:
        # A resumed run logs some steps twice: the last value counts.
        last = {event.step: event.value for event in events.Scalars(name)}
        curves[name] = (sorted(last), [last[step] for step in sorted(last)])
    return curves


def read_csv(path: Path) -> dict[str, Curve]:
    table = pd.read_csv(path)
    curves = {}
    for name in table.columns.drop("step", errors="ignore"):
        rows = table[["step", name]].dropna().drop_duplicates("step", keep="last")
        if name != EPOCH:
            rows = rows.iloc[:: max(1, len(rows) // MOST)]
        curves[str(name)] = (rows["step"].tolist(), rows[name].tolist())
    return curves


def log_settings(writer: Any, settings: Mapping[str, Any], best: str, score: float) -> None:
    """Log flat settings and the best validation score to TensorBoard's HParams table.

    The test scores are columns too, which `log_test` fills later: TensorBoard takes the columns
    from the first run that it finds.
    """
    from torch.utils.tensorboard.summary import hparams

    plain = {k: v if isinstance(v, int | float) else str(v) for k, v in settings.items()}
    writer.add_scalar(best, score)
    for summary in hparams(plain, dict.fromkeys([best, *TEST_SCALARS], 0.0)):
        writer.file_writer.add_summary(summary)


def log_test(folder: Path, scores: Scores) -> None:
    """Add the test scores to the TensorBoard log of a run folder, if it has one.

    They are columns of the HParams table, by which the runs of a sweep can be sorted.
    """
    if not (folder / "tensorboard").is_dir():
        return
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

    with SummaryWriter(str(folder / "tensorboard"), filename_suffix=".test") as writer:
        for name in TEST_SCALARS:
            writer.add_scalar(name, getattr(scores, name.removeprefix("test/")))
