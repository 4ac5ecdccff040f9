"""The learning curves of a run, from its TensorBoard or CSV log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser.figures import Curve

PANELS = {
    "Loss": {"train/loss": "training", "val/loss": "validation"},
    "Validation": {"val/uar": "UAR", "val/macro_f1": "macro F1", "val/accuracy": "accuracy"},
}
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
