"""The learning curves of a run, from its TensorBoard or CSV log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser.figures import Curve
from ser.metrics import Scores

PANELS = {
    "Loss": {"train/loss": "training", "val/loss": "validation"},
    "Validation": {"val/uar": "UAR", "val/macro_f1": "macro F1", "val/accuracy": "accuracy"},
}
TEST_SCALARS = ("test/uar", "test/accuracy", "test/macro_f1")
MOST = 1000  # points of a curve; a picture shows no more


@dataclass(frozen=True)
class History:
    """Scalars by name, each as steps and values."""

    scalars: Mapping[str, Curve]

    def panels(self) -> dict[str, dict[str, Curve]]:
        """What there is of the two panels of learning curves."""
        found = {
            title: {
                label: self.scalars[name] for name, label in names.items() if name in self.scalars
            }
            for title, names in PANELS.items()
        }
        return {title: curves for title, curves in found.items() if curves}


def read(folder: Path) -> History | None:
    """The log in a run folder, or None where nothing was logged."""
    if (folder / "tensorboard").is_dir():
        scalars = read_events(folder / "tensorboard")
    elif (folder / "csv" / "metrics.csv").is_file():
        scalars = read_csv(folder / "csv" / "metrics.csv")
    else:
        return None
    return History(scalars) if scalars else None


def read_events(folder: Path) -> dict[str, Curve]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each file it reads
    guidance = {"scalars": MOST, "images": 1, "audio": 1, "tensors": 1}
    events = EventAccumulator(str(folder), size_guidance=guidance).Reload()
    curves = {}
    for name in events.Tags()["scalars"]:
        # A resumed run logs some steps again: the later word counts.
        last = {event.step: event.value for event in events.Scalars(name)}
        curves[name] = (sorted(last), [last[step] for step in sorted(last)])
    return curves


def read_csv(path: Path) -> dict[str, Curve]:
    table = pd.read_csv(path)
    curves = {}
    for name in table.columns.drop(["step", "epoch"], errors="ignore"):
        rows = table[["step", name]].dropna().drop_duplicates("step", keep="last")
        rows = rows.iloc[:: max(1, len(rows) // MOST)]
        curves[str(name)] = (rows["step"].tolist(), rows[name].tolist())
    return curves


def log_settings(writer: Any, settings: Mapping[str, Any], best: str, score: float) -> None:
    """Put flat settings and the best validation score into TensorBoard's table of settings.

    The test scores are columns from the start, which `log_test` fills: TensorBoard takes the
    columns that the first run it finds has named.
    """
    from torch.utils.tensorboard.summary import hparams

    plain = {k: v if isinstance(v, int | float) else str(v) for k, v in settings.items()}
    writer.add_scalar(best, score)
    for summary in hparams(plain, dict.fromkeys([best, *TEST_SCALARS], 0.0)):
        writer.file_writer.add_summary(summary)


def log_test(folder: Path, scores: Scores) -> None:
    """Add the scores on the test part to the TensorBoard log of a run folder, where it has one.

    They are columns of its table of settings, by which the runs of a sweep can be sorted.
    """
    if not (folder / "tensorboard").is_dir():
        return
    from torch.utils.tensorboard import SummaryWriter  # seconds of import

    with SummaryWriter(str(folder / "tensorboard"), filename_suffix=".test") as writer:
        for name in TEST_SCALARS:
            writer.add_scalar(name, getattr(scores, name.removeprefix("test/")))
