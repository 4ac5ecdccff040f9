"""Finished runs and their reports, read back for a comparison or an aggregate report."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ser.config.baseline import RECORD
from ser.config.plain import key_of
from ser.errors import UserError
from ser.metrics.intervals import SpeakerCounts, count_by_speaker
from ser.metrics.scores import Scores, score
from ser.reports.metrics_json import READABLE, SCHEMA
from ser.reports.sweeps import OUTSIDE
from ser.system.files import read_object
from ser.system.spreadsheet import unescape_cell

TEXT = ("id", "corpus", "speaker", "emotion", "predicted")
LONGEST_NAME = 48  # letters that a table has room for


@dataclass(frozen=True)
class EvaluatedRun:
    """A run with a report: its name, its command, and every prediction.

    `predictions` (one row per utterance, by id) has the true and the predicted emotion, speaker
    and corpus. `val_uar` is the UAR of the checkpoint on the validation part, None if it was saved
    between two validations.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    part: str
    synthetic: bool
    command: list[str]
    predictions: pd.DataFrame
    val_uar: float | None

    @cached_property
    def scores(self) -> Scores:
        return score(*self.indices(self.predictions), self.labels)

    def indices(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """True and predicted class indices (utterances,) of some predictions."""
        places = {name: place for place, name in enumerate(self.labels)}
        true, predicted = (rows[name].map(places) for name in ("emotion", "predicted"))
        return true.to_numpy(np.int64), predicted.to_numpy(np.int64)

    def count(self, rows: pd.DataFrame | None = None, unit: str = "speaker") -> SpeakerCounts:
        """The sums by speaker over all predictions or some; `unit` is another column to sum by."""
        rows = self.predictions if rows is None else rows
        return count_by_speaker(
            rows[unit].to_numpy(str),
            *self.indices(rows),
            len(self.labels),
            strata=rows["corpus"].to_numpy(str),
        )


def read_run(path: Path) -> EvaluatedRun:
    """The report of a run folder (its `report/`), or of a report folder.

    Raises UserError if there is none, or if it was written by another version.
    """
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: pass a run folder or a report folder")
    folder = next((each for each in (path / "report", path) if is_report(each)), None)
    if folder is None:
        raise UserError(
            f"{path} has no report: evaluate it first with"
            f" {shlex.join(['ser', 'evaluate', f'ckpt={path}'])}"
        )
    content = read_object(folder / "metrics.json")
    if content.get("schema") not in READABLE:
        command = f"ckpt={content.get('checkpoint')}"
        raise UserError(
            f"{folder}/metrics.json has schema {content.get('schema')}, but this version reads"
            f" {' and '.join(map(str, READABLE))}: run"
            f" {shlex.join(['ser', 'evaluate', command])} again"
        )
    baseline = Path(content.get("checkpoint", "")).name == RECORD
    members = len(content.get("ensemble", []))
    kind = ["acoustic baseline"] if baseline else [f"ensemble of {members}"] if members else []
    return EvaluatedRun(
        name=run_folder_of(folder).name,
        folder=folder,
        labels=tuple(content["labels"]),
        part=content["part"],
        synthetic=content["synthetic"],
        command=[*kind, *(content["config"] or {}).get("command", [])],
        predictions=read_predictions(folder / "predictions.csv", content["schema"]),
        val_uar=content.get("val_uar"),
    )


def run_folder_of(report: Path) -> Path:
    """The folder of the run that a report is about."""
    return report.parent if report.name.startswith("report") else report


def read_predictions(path: Path, schema: int) -> pd.DataFrame:
    """The predictions by id; text that `escape_cell` changed is restored."""
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, "str"), keep_default_na=False)
    if "corpus" not in table:
        table["corpus"] = ""
    if schema >= SCHEMA:  # older reports did not escape
        for name in TEXT:
            table[name] = table[name].map(unescape_cell)
    return table.set_index("id")


def is_report(folder: Path) -> bool:
    return (folder / "metrics.json").is_file() and (folder / "predictions.csv").is_file()


def name_apart(runs: Sequence[EvaluatedRun]) -> list[str]:
    """A different name for each run: the options that only some have, else the folder."""
    own = [own or run.name for own, run in zip(own_settings(runs), runs, strict=True)]
    if len(set(own)) == len(own) and max(map(len, own)) <= LONGEST_NAME:
        return own
    return name_folders(runs)


def own_words(runs: Sequence[EvaluatedRun]) -> list[list[str]]:
    """The overrides of each run that not all of them have."""
    common = set.intersection(*(set(run.command) for run in runs)) if runs else set()
    return [
        [word for word in run.command if word not in common and key_of(word) not in OUTSIDE]
        for run in runs
    ]


def own_settings(runs: Sequence[EvaluatedRun]) -> list[str]:
    """The settings of each run that not all of them have."""
    return [" ".join(words) for words in own_words(runs)]


def name_folders(runs: Sequence[EvaluatedRun]) -> list[str]:
    """A different name for each run: its folder, with those above it if need be.

    The number of the job of a sweep is not a name.
    """
    paths = [run_folder_of(run.folder) for run in runs]
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.parts[-depth - path.name.isdigit() :]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]  # reports of several checkpoints of a run
