"""Runs beside each other, and whether what lies between them is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ser import page
from ser.atomic import write_text
from ser.figures import draw_intervals, mark
from ser.intervals import SIGNED, Interval, find_differences, find_intervals, mcnemar, show_interval
from ser.page import Grid, count, percent
from ser.runs import JudgedRun, metric, name_apart

COLUMNS = [
    *("run", "val UAR", "UAR", "95 % interval", "accuracy", "macro F1"),
    *("minus the first", "95 % interval", "McNemar p", "utterances"),
]


@dataclass(frozen=True)
class Difference:
    """A run against the first one, on the `utterances` that both judged.

    `uar` is its UAR minus that of the first, `interval` that of the paired bootstrap over
    speakers, `p` that of McNemar's test over utterances.
    """

    utterances: int
    uar: float
    interval: Interval | None
    p: float

    @property
    def certain(self) -> bool:
        if self.interval is None or not self.interval.has_width:
            return False
        return not self.interval.low <= 0 <= self.interval.high


def differ(first: JudgedRun, other: JudgedRun) -> Difference | None:
    """How another run differs from the first; None where they judged nothing in common, or tell
    other classes apart.

    Raises ValueError where one utterance has two labels: then the scores mean different things.
    """
    common = first.predictions.index.intersection(other.predictions.index)
    one, two = first.predictions.loc[common], other.predictions.loc[common]
    if common.empty or set(first.labels) != set(other.labels):
        return None
    if not (one["emotion"] == two["emotion"]).all():
        raise ValueError(f"{first.folder} and {other.folder} name the same utterances otherwise")
    sums = first.tally(one), first.tally(two)
    right = [(rows["emotion"] == rows["predicted"]).to_numpy() for rows in (one, two)]
    return Difference(
        utterances=len(common),
        uar=metric(sums[1], "uar") - metric(sums[0], "uar"),
        interval=find_differences(*sums).get("uar"),
        p=mcnemar(*right),
    )


@dataclass(frozen=True)
class Comparison:
    """Runs by name, with the difference of each to the first."""

    runs: dict[str, JudgedRun]
    intervals: dict[str, Interval | None]
    differences: dict[str, Difference | None]

    def tabulate(self) -> Grid:
        rows = []
        for name, run in self.runs.items():
            scores, difference = run.scores, self.differences.get(name)
            rows.append(
                [
                    name,
                    percent(run.chosen_by),
                    percent(scores.uar),
                    show_interval(self.intervals[name]),
                    percent(scores.accuracy),
                    percent(scores.macro_f1),
                    *describe_difference(difference),
                    count(scores.utterances),
                ]
            )
        return Grid(COLUMNS, rows)

    def warnings(self) -> list[str]:
        """What has to be known before one of the runs is chosen."""
        runs = self.runs
        words = []
        if any(run.synthetic for run in runs.values()):
            words.append("Synthetic tones: nobody is speaking, and the numbers mean nothing else.")
        if len({frozenset(run.predictions.index) for run in runs.values()}) > 1:
            words.append(
                "The runs judged different utterances: their scores are not of the same task."
                " Differences are over those in common."
            )
        if len({frozenset(run.labels) for run in runs.values()}) > 1:
            words.append(
                "The runs tell different classes apart: the fewer there are, the higher chance is,"
                " and no score here, val UAR included, says which is better."
            )
        parts = {run.part for run in runs.values()} - {"val"}
        validated = {name: run.chosen_by for name, run in runs.items() if run.chosen_by is not None}
        if parts:
            of = f"of the {' and '.join(sorted(parts))} part"
            words.append(
                f"These are scores {of}. Choose among runs by val UAR: the best of several such"
                " scores is too good to be true."
            )
            best = max(runs, key=lambda name: runs[name].scores.uar)
            if validated and best != (by_val := max(validated, key=lambda name: validated[name])):
                words.append(f"{best} is best here, but validation would choose {by_val}.")
        if len(runs) > 2:
            words.append(
                f"{len(runs) - 1} differences are tested at once: one in twenty looks certain by"
                " chance alone."
            )
        return words


def describe_difference(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["–", "–", "–"]
    sign = "*" if difference.certain else ""
    interval = show_interval(difference.interval, SIGNED)
    return [f"{100 * difference.uar:+.1f}%{sign}", interval, f"{difference.p:.3g}"]


def compare(runs: Sequence[JudgedRun]) -> Comparison:
    """Judge each run, and the difference of each to the first."""
    named = dict(zip(name_apart(runs), runs, strict=True))
    first, *others = named
    return Comparison(
        runs=named,
        intervals={name: find_intervals(run.tally()).get("uar") for name, run in named.items()},
        differences={name: differ(named[first], named[name]) for name in others},
    )


def show(comparison: Comparison) -> None:
    """Print a table that fits a terminal, and the warnings."""
    console, table = Console(soft_wrap=True), Table()
    table.add_column("run", overflow="fold")
    for column in ("val UAR", "UAR", "minus the first", "p", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in comparison.tabulate().rows:
        name, validated, uar, interval, _, _, difference, between, p, utterances = row
        found = f"{difference}\n{between}" if p != "–" else ""
        table.add_row(name, validated, f"{uar}\n{interval}", found, p, utterances)
    console.print(table)
    console.print("p is that of McNemar's test, n counts utterances.")
    if any(each and each.certain for each in comparison.differences.values()):
        console.print("* the interval of the difference does not hold 0")
    for words in comparison.warnings():
        console.print(words, style="yellow")


def write(comparison: Comparison, folder: Path) -> None:
    """Write comparison.html and comparison.md into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        (name, run.scores.uar, comparison.intervals[name]) for name, run in comparison.runs.items()
    ]
    figure = draw_intervals(rows)
    synthetic = any(run.synthetic for run in comparison.runs.values())
    parts = sorted({run.part for run in comparison.runs.values()})
    mark(figure, f"UAR, {' and '.join(parts)} part", synthetic=synthetic)
    context = {
        "grid": comparison.tabulate(),
        "warnings": comparison.warnings(),
        "folders": [(name, str(run.folder)) for name, run in comparison.runs.items()],
    }
    picture = page.picture(figure, "UAR of each run, with its interval")
    html = page.render("comparison.html", picture=picture, **context)
    write_text(folder / "comparison.html", html)
    write_text(folder / "comparison.md", page.render("comparison.md", **context))
