"""Several runs as one result: folds, seeds, or corpora held out in turn."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from ser import page
from ser.atomic import write_text
from ser.compose import key_of
from ser.figures import draw_confusion, draw_intervals, mark
from ser.intervals import Interval, find_intervals, show_interval
from ser.metrics import Scores, baselines, score
from ser.page import Grid, count, percent
from ser.report import shorten, to_json
from ser.runs import JudgedRun, is_report, name_apart, read_run

SCHEMA = 1  # of aggregate.json
CAPTION = "UAR with its interval of 95 % confidence, by a bootstrap that draws speakers"
METRICS = ("uar", "accuracy", "macro_f1", "weighted_f1")


@dataclass(frozen=True)
class Spread:
    """The mean over runs, and their standard deviation (of a sample; None for one run)."""

    mean: float
    deviation: float | None

    def describe(self) -> str:
        return percent(self.mean) + (f" ± {percent(self.deviation)}" if self.deviation else "")


@dataclass(frozen=True)
class Aggregate:
    """Runs by name, the spread of their scores, and all their predictions judged as one.

    `repeated` tells that several runs judged the same utterances (as with seeds): then each is in
    the pool as often, and the spread is the result.
    """

    runs: dict[str, JudgedRun]
    spreads: dict[str, Spread]
    pooled: Scores
    intervals: dict[str, Interval]
    labels: tuple[str, ...]
    repeated: bool

    @property
    def seeds_alone(self) -> bool:
        """Whether the runs differ in nothing but their seed."""
        judged = {frozenset(run.predictions.index) for run in self.runs.values()}
        typed = {
            tuple(word for word in run.command if key_of(word) not in ("seed", "output_dir"))
            for run in self.runs.values()
        }
        return self.repeated and len(judged) == len(typed) == 1

    def tabulate(self) -> Grid:
        rows = []
        for name, run in self.runs.items():
            scores = run.scores
            values = (percent(getattr(scores, metric)) for metric in METRICS)
            rows.append([name, percent(run.chosen_by), *values, count(scores.utterances)])
        mean = [self.spreads[metric].describe() for metric in METRICS]
        rows.append(["mean ± SD", "", *mean, ""])
        pooled = [percent(getattr(self.pooled, metric)) for metric in METRICS]
        rows.append(["pooled", "", *pooled, count(self.pooled.utterances)])
        columns = ["run", "val UAR", "UAR", "accuracy", "macro F1", "weighted F1", "utterances"]
        return Grid(columns, rows)

    def describe(self) -> str:
        """One sentence on what was added up."""
        if self.seeds_alone:
            kind = (
                "each on the same utterances, so the deviation tells what training leaves to chance"
            )
        elif self.repeated:
            kind = (
                "some on the same utterances, which count in the pool as often as they were judged"
            )
        else:
            kind = "each on utterances of its own, pooled as if one model had judged them all"
        return f"{len(self.runs)} runs, {kind}."

    def to_plain(self) -> dict[str, Any]:
        """The content of aggregate.json."""
        return {
            "schema": SCHEMA,
            "labels": list(self.labels),
            "repeated": self.repeated,
            "mean": {name: asdict(spread) for name, spread in self.spreads.items()},
            "pooled": asdict(self.pooled) | {"intervals": asdict_all(self.intervals)},
            "runs": {
                name: {"folder": str(run.folder), "val_uar": run.chosen_by, **asdict(run.scores)}
                for name, run in self.runs.items()
            },
        }


def asdict_all(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: asdict(interval) for name, interval in intervals.items() if name in METRICS}


def add_up(runs: Sequence[JudgedRun]) -> Aggregate:
    """Judge runs together. Raises ValueError where their classes differ, or there is none."""
    if not runs:
        raise ValueError("there are no judged runs to add up")
    if len({frozenset(run.labels) for run in runs}) > 1:
        raise ValueError("the runs have different classes and cannot be added up")
    predictions = pd.concat([run.predictions for run in runs])
    scores = [run.scores for run in runs]
    first = runs[0]
    return Aggregate(
        runs=dict(zip(name_apart(runs), runs, strict=True)),
        spreads={name: spread([getattr(each, name) for each in scores]) for name in METRICS},
        pooled=score(*first.coded(predictions), first.labels),
        intervals=find_intervals(first.tally(predictions)),
        labels=first.labels,
        repeated=bool(predictions.index.duplicated().any()),
    )


def spread(values: Sequence[float]) -> Spread:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation)


def find_runs(folder: Path) -> list[JudgedRun]:
    """The judged runs below a sweep's folder, in the order of their numbers."""
    found = [each for each in folder.iterdir() if is_report(each / "report")]
    return [read_run(each) for each in sorted(found, key=lambda each: (len(each.name), each.name))]


def write(aggregate: Aggregate, folder: Path) -> None:
    """Write report.html, report.md and aggregate.json into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    synthetic = any(run.synthetic for run in aggregate.runs.values())
    confusion = draw_confusion(aggregate.pooled.confusion, aggregate.labels)
    rows = [
        (name, run.scores.uar, find_intervals(run.tally()).get("uar"))
        for name, run in aggregate.runs.items()
    ]
    pooled = aggregate.intervals.get("uar")
    chance = baselines(aggregate.pooled).chance
    strips = draw_intervals([*rows, ("pooled", aggregate.pooled.uar, pooled)], chance)
    for figure in (confusion, strips):
        mark(figure, f"test parts of {len(rows)} runs", synthetic=synthetic)
    uar = aggregate.spreads["uar"]
    context = {
        "words": aggregate.describe(),
        "synthetic": synthetic,
        "grid": aggregate.tabulate(),
        "caption": CAPTION if pooled is not None else "UAR; there are no intervals",
        "headline": [
            (percent(uar.mean), "Mean UAR", f"± {percent(uar.deviation)} between runs"),
            (
                percent(aggregate.pooled.uar),
                "Pooled UAR",
                f"{show_interval(pooled)}\nchance {percent(chance)}",
            ),
            (percent(aggregate.pooled.accuracy), "Pooled accuracy", ""),
            (count(len(rows)), "Runs", ""),
        ],
        "folders": [(name, str(run.folder)) for name, run in aggregate.runs.items()],
    }
    pictures = {
        "confusion": page.picture(confusion, "Pooled confusion matrix"),
        "strips": page.picture(strips, "UAR of each run"),
    }
    write_text(folder / "report.html", page.render("aggregate.html", **pictures, **context))
    write_text(folder / "report.md", page.render("aggregate.md", **context))
    write_text(folder / "aggregate.json", to_json(aggregate.to_plain()))


def show(aggregate: Aggregate, folder: Path) -> None:
    """Print the table of runs, and where the aggregate report lies."""
    console, table = Console(soft_wrap=True), Table()
    table.add_column("run", overflow="fold")
    for column in ("val UAR", "UAR", "accuracy", "macro F1", "utterances"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, validated, uar, accuracy, macro_f1, _, utterances in aggregate.tabulate().rows:
        style = "bold" if name in ("mean ± SD", "pooled") else ""
        table.add_row(name, validated, uar, accuracy, macro_f1, utterances, style=style)
    console.print(table)
    console.print(aggregate.describe())
    console.print(f"Aggregate report: {shorten(folder / 'report.html')}")
