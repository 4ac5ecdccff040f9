"""Finished runs and their reports, read back to be compared or added up."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser.compose import key_of
from ser.files import read_object
from ser.intervals import METRICS, Tally, compute, tally
from ser.metrics import Scores, score
from ser.report import SCHEMA


@dataclass(frozen=True)
class JudgedRun:
    """A run whose checkpoint was judged: its name, its settings, and every prediction.

    `predictions` (one row an utterance, by id) has the true and the predicted emotion. `chosen_by`
    is its UAR on the validation part, None for a checkpoint that was saved between validations.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    part: str
    synthetic: bool
    command: list[str]
    predictions: pd.DataFrame
    chosen_by: float | None

    @property
    def scores(self) -> Scores:
        return score(*self.coded(self.predictions), self.labels)

    def coded(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """True and predicted labels (utterances,) of some predictions."""
        places = {name: place for place, name in enumerate(self.labels)}
        true, predicted = (rows[name].map(places) for name in ("emotion", "predicted"))
        return true.to_numpy(np.int64), predicted.to_numpy(np.int64)

    def tally(self, rows: pd.DataFrame | None = None) -> Tally:
        """The sums by speaker over all predictions, or over some."""
        rows = self.predictions if rows is None else rows
        return tally(rows["speaker"].to_numpy(str), *self.coded(rows), len(self.labels))


LONGEST_NAME = 48  # letters: a table has to hold it


def read_run(path: Path) -> JudgedRun:
    """The report of a run folder (its `report/`), or of a report folder.

    Raises ValueError where there is none, or one of another version.
    """
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}: name a run, or its report")
    folder = next((each for each in (path / "report", path) if is_report(each)), None)
    if folder is None:
        raise ValueError(
            f"{path} holds no report: judge it first with python evaluate.py"
            f" ckpt={path}/checkpoints/best.ckpt"
        )
    content = read_object(folder / "metrics.json")
    if content.get("schema") != SCHEMA:
        raise ValueError(
            f"{folder}/metrics.json is of schema {content.get('schema')}, not {SCHEMA}: run"
            f" python evaluate.py ckpt={content.get('checkpoint')} again"
        )
    run = folder.parent if folder.name.startswith("report") else folder
    text = dict.fromkeys(("id", "speaker", "emotion", "predicted"), "str")
    predictions = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
    return JudgedRun(
        name=run.name,
        folder=folder,
        labels=tuple(content["labels"]),
        part=content["part"],
        synthetic=content["synthetic"],
        command=content["config"].get("command", []),
        predictions=predictions.set_index("id"),
        chosen_by=content.get("val_uar"),
    )


def is_report(folder: Path) -> bool:
    return (folder / "metrics.json").is_file() and (folder / "predictions.csv").is_file()


def name_apart(runs: Sequence[JudgedRun]) -> list[str]:
    """A name for each run: the options that only some of them have, else the folder."""
    common = set.intersection(*(set(run.command) for run in runs)) if runs else set()
    names = []
    for run in runs:
        own = [
            word
            for word in run.command
            if word not in common and key_of(word) not in ("output_dir", "ckpt", "data.cache_dir")
        ]
        names.append(" ".join(own) or run.name)
    unique = len(set(names)) == len(names) and max(map(len, names)) <= LONGEST_NAME
    folders = [run.name for run in runs]
    if unique:
        return names
    return folders if len(set(folders)) == len(runs) else [str(run.folder) for run in runs]


def metric(sums: Tally, name: str) -> float:
    """One of METRICS over all speakers of a tally."""
    total = sums.columns().sum(axis=0)[None]
    return float(compute(total, sums.confusion.shape[1])[METRICS.index(name), 0])
