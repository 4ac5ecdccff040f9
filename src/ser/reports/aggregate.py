"""Several runs as one result: folds, seeds, or corpora held out in turn."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser.config.plain import key_of
from ser.errors import UserError
from ser.figures.scores import draw_intervals
from ser.figures.style import mark
from ser.metrics.intervals import Interval, explain_missing, find_intervals, widen
from ser.metrics.label_errors import find_label_errors
from ser.metrics.scores import Scores, baselines, score
from ser.reports import html as page
from ser.reports import texts
from ser.reports.metrics_json import to_json
from ser.reports.report import write_table
from ser.reports.runs import EvaluatedRun, is_report, name_apart, own_words, read_run
from ser.reports.tables import Table, count, fraction, show_interval
from ser.reports.terminal import show as print_all
from ser.system.atomic import write_text
from ser.system.files import shorten

SCHEMA = 2  # of aggregate.json
METRICS = ("uar", "accuracy", "macro_f1", "weighted_f1")
MEAN, POOLED = "mean ± SD", "pooled"
NARROW = ("run", "val UAR", "UAR", "accuracy", "macro F1", "utterances")
FOLDS = (
    "Models of different folds share training data. The interval of the pooled score is therefore"
    " the wider of one over speakers and one over folds; it does not cover other training sets."
)
APART = "The interval of the pooled score is over speakers; it does not cover other training sets."
SEEDS = "The interval of the pooled score covers other speakers, and ± other seeds."
MIXED = "The runs differ in more than seed or fold, so ± is the deviation between these runs only."


def repeats(runs: Sequence[EvaluatedRun]) -> bool:
    """Whether runs differ in nothing but seeds, folds and other settings of the split."""
    keys = {key_of(word) for own in own_words(runs) for word in own}
    return all(key == "seed" or key.startswith("split.") for key in keys)


@dataclass(frozen=True)
class Spread:
    """The mean over runs, and their standard deviation (of a sample; None for one run)."""

    mean: float
    deviation: float | None

    def describe(self) -> str:
        deviation = "" if self.deviation is None else f" ± {fraction(self.deviation)}"
        return fraction(self.mean) + deviation


@dataclass(frozen=True)
class Aggregate:
    """Runs by name, the spread of their scores, and the scores of all predictions together.

    `repeated` says that several runs evaluated the same utterances, as with seeds: the pool then
    holds these utterances several times. `over_folds` says that intervals are the wider of those
    over speakers and over folds. `no_interval` says why there is none for the pooled UAR.
    """

    runs: dict[str, EvaluatedRun]
    spreads: dict[str, Spread]
    pooled: Scores
    intervals: dict[str, Interval]
    labels: tuple[str, ...]
    repeated: bool
    over_folds: bool
    no_interval: str

    @property
    def only_seeds_differ(self) -> bool:
        """Whether the runs differ in nothing but their seed."""
        evaluated = {frozenset(run.predictions.index) for run in self.runs.values()}
        typed = {
            tuple(word for word in run.command if key_of(word) not in ("seed", "output_dir"))
            for run in self.runs.values()
        }
        return self.repeated and len(evaluated) == len(typed) == 1

    def tabulate(self) -> Table:
        rows = []
        for name, run in self.runs.items():
            values = (fraction(getattr(run.scores, metric)) for metric in METRICS)
            rows.append([name, fraction(run.val_uar), *values, count(run.scores.utterances)])
        mean = [self.spreads[metric].describe() for metric in METRICS]
        rows.append([MEAN, "", *mean, ""])
        pooled = [fraction(getattr(self.pooled, metric)) for metric in METRICS]
        rows.append([POOLED, "", *pooled, count(self.pooled.utterances)])
        columns = ["run", "val UAR", "UAR", "accuracy", "macro F1", "weighted F1", "utterances"]
        return Table(columns, rows, strong=(MEAN, POOLED))

    def describe(self) -> str:
        """What the runs have in common, in a sentence."""
        if self.only_seeds_differ:
            kind = "with different seeds on the same utterances"
        elif self.repeated:
            kind = "some on the same utterances, which the pooled scores count more than once"
        else:
            kind = "each on utterances of its own"
        return f"{len(self.runs)} runs, {kind}."

    def describe_intervals(self) -> str:
        if self.no_interval:
            return f"There is no interval for the pooled UAR: {self.no_interval}."
        folds = FOLDS if self.over_folds else APART
        runs = SEEDS if self.only_seeds_differ else MIXED if self.repeated else folds
        return f"{texts.INTERVALS} {runs}"

    def to_plain(self) -> dict[str, Any]:
        """The content of aggregate.json."""
        return {
            "schema": SCHEMA,
            "labels": list(self.labels),
            "repeated": self.repeated,
            "mean": {name: asdict(spread) for name, spread in self.spreads.items()},
            "pooled": asdict(self.pooled) | {"intervals": plain_intervals(self.intervals)},
            "runs": {
                name: {"folder": str(run.folder), "val_uar": run.val_uar, **asdict(run.scores)}
                for name, run in self.runs.items()
            },
        }


def plain_intervals(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: asdict(interval) for name, interval in intervals.items() if name in METRICS}


def add_up(runs: Sequence[EvaluatedRun]) -> Aggregate:
    """Score runs together. Raises UserError if their classes differ, or if there are none."""
    if not runs:
        raise UserError("there are no evaluated runs to aggregate")
    if len({frozenset(run.labels) for run in runs}) > 1:
        raise UserError("the runs have different classes and cannot be aggregated")
    first, names = runs[0], name_apart(runs)
    tables = [run.predictions.assign(run=name) for name, run in zip(names, runs, strict=True)]
    predictions = pd.concat(tables)
    repeated = bool(predictions.index.duplicated().any())
    counts, intervals, of_folds = first.count(predictions), {}, {}
    if not (missing := explain_missing(counts)):
        intervals = find_intervals(counts)
        of_folds = {} if repeated else fold_intervals(first, predictions)
        intervals = widen(intervals, of_folds)
    return Aggregate(
        runs=dict(zip(names, runs, strict=True)),
        spreads={name: spread([getattr(each.scores, name) for each in runs]) for name in METRICS},
        pooled=score(*first.indices(predictions), first.labels),
        intervals=intervals,
        labels=first.labels,
        repeated=repeated,
        over_folds=bool(of_folds),
        no_interval=missing,
    )


def fold_intervals(first: EvaluatedRun, predictions: pd.DataFrame) -> dict[str, Interval]:
    """Intervals over folds within corpora, because all speakers of a fold share one model.

    Empty if a corpus is in one fold only, as if it is held out.
    """
    folds = predictions["corpus"] + "\t" + predictions["run"]
    counts = first.count(predictions.assign(fold=folds), unit="fold")
    _, sizes = np.unique(counts.strata, return_counts=True)
    return find_intervals(counts) if sizes.min() > 1 else {}


def spread(values: Sequence[float]) -> Spread:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation)


def find_runs(folder: Path) -> list[EvaluatedRun]:
    """The evaluated runs in the folder of a sweep, in the order of their numbers."""
    found = [each for each in folder.iterdir() if is_report(each / "report")]
    return [read_run(each) for each in sorted(found, key=lambda each: (len(each.name), each.name))]


def write(aggregate: Aggregate, folder: Path) -> None:
    """Write report.html, report.md, aggregate.json and label_errors.csv into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    context = {
        "words": aggregate.describe(),
        "synthetic": texts.SYNTHETIC if any(r.synthetic for r in aggregate.runs.values()) else "",
        "table": aggregate.tabulate(),
        "intervals": aggregate.describe_intervals(),
        "headline": list_headline(aggregate),
        "folders": [(name, str(run.folder)) for name, run in aggregate.runs.items()],
    }
    html = page.render(
        "aggregate.html",
        strips=page.picture(draw(aggregate), "UAR of each run"),
        heat=page.Heat(aggregate.labels, aggregate.pooled.confusion),
        **context,
    )
    write_text(folder / "report.html", html)
    write_text(folder / "report.md", page.render("aggregate.md", **context))
    write_text(folder / "aggregate.json", to_json(aggregate.to_plain()))
    if not aggregate.repeated:
        write_table(review_labels(aggregate), folder / "label_errors.csv")


def review_labels(aggregate: Aggregate) -> pd.DataFrame:
    """Suspected label errors, by the model of the fold that was not trained on the utterance."""
    table = pd.concat([run.predictions for run in aggregate.runs.values()]).reset_index()
    columns = [f"p_{name}" for name in aggregate.labels]
    if not set(columns) <= set(table):
        return table.iloc[:0]
    return find_label_errors(table, table[columns].to_numpy(float), aggregate.labels)


def draw(aggregate: Aggregate) -> Any:
    """UAR of each run and of all together, with their intervals."""
    intervals = {
        name: find_intervals(run.count()).get("uar") for name, run in aggregate.runs.items()
    }
    intervals[POOLED] = aggregate.intervals.get("uar")
    values = {name: run.scores.uar for name, run in aggregate.runs.items()}
    values[POOLED] = aggregate.pooled.uar
    rows = [
        (name, values[name], interval and interval.ends) for name, interval in intervals.items()
    ]
    figure = draw_intervals(rows, baselines(aggregate.pooled).chance)
    synthetic = any(run.synthetic for run in aggregate.runs.values())
    mark(figure, f"test parts of {len(aggregate.runs)} runs", synthetic=synthetic)
    return figure


def list_headline(aggregate: Aggregate) -> list[tuple[str, str, str]]:
    """Value, label and note of the few numbers on top."""
    uar, pooled = aggregate.spreads["uar"], aggregate.intervals.get("uar")
    chance = fraction(baselines(aggregate.pooled).chance)
    ends = "" if pooled is None else f"{show_interval(pooled)}\n"
    deviation = "" if uar.deviation is None else f"± {fraction(uar.deviation)} between runs"
    return [
        (fraction(uar.mean), "Mean UAR", deviation),
        (fraction(aggregate.pooled.uar), "Pooled UAR", f"{ends}chance {chance}"),
        (fraction(aggregate.pooled.accuracy), "Pooled accuracy", ""),
        (count(len(aggregate.runs)), "Runs", ""),
    ]


def show(aggregate: Aggregate, folder: Path) -> None:
    """Print the table of runs and the path of the aggregate report."""
    print_all(aggregate.tabulate().only(NARROW), aggregate.describe())
    pooled = aggregate.intervals.get("uar")
    if pooled is not None:
        print_all(f"95% interval of the pooled UAR: {show_interval(pooled)}.")
    else:
        print_all(f"No interval for the pooled UAR: {aggregate.no_interval}.")
    print_all(f"Aggregate report: {shorten(folder / 'report.html')}")
