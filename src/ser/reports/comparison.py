"""Runs side by side, and whether the others differ from the first beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.errors import UserError
from ser.figures.scores import draw_intervals
from ser.figures.style import mark
from ser.metrics.intervals import (
    Interval,
    SpeakerCounts,
    explain_missing,
    find_differences,
    find_intervals,
)
from ser.metrics.significance import ALPHA, compare_uar
from ser.reports import html as page
from ser.reports import texts
from ser.reports.runs import EvaluatedRun, name_folders, own_settings
from ser.reports.tables import (
    SIGNED,
    Table,
    count,
    fraction,
    show_interval,
    show_p,
    signed,
)
from ser.reports.terminal import show as print_all
from ser.system.atomic import write_text

COLUMNS = [
    *("run", "val UAR", "UAR", "95% interval", "accuracy", "macro F1"),
    *("difference", "its 95% interval", "p", "speakers"),
]
DESCRIPTION = ("run", "command-line settings that differ")
NARROW = ("run", "val UAR", "UAR", "95% interval", "difference", "p", "speakers")
METHOD = (
    "Differences in UAR are to the first run, over the utterances that both evaluated. p is that of"
    " a paired permutation test that swaps the predictions of whole speakers. A star marks"
    f" p < {ALPHA}, for which 6 speakers are needed. A dash marks a value that cannot be computed:"
    " there are too few or unknown speakers, no utterances in common, or different classes."
)


@dataclass(frozen=True)
class Difference:
    """A run minus the first one, on the `utterances` of `speakers` that both evaluated.

    `interval` (a jackknife) and `p` (a permutation test) are over speakers, and None if there are
    too few or unknown ones.
    """

    utterances: int
    speakers: int
    uar: float
    interval: Interval | None
    p: float | None

    @property
    def certain(self) -> bool:
        return self.p is not None and self.p < ALPHA


def differ(first: EvaluatedRun, other: EvaluatedRun) -> Difference | None:
    """How another run differs from the first; None without common utterances or equal classes.

    A synthetic clip has the name of a real one, but is another utterance. Raises UserError if an
    utterance has two labels, because then the scores are of two tasks.
    """
    common = first.predictions.index.intersection(other.predictions.index)
    if common.empty or set(first.labels) != set(other.labels) or first.synthetic != other.synthetic:
        return None
    one, two = first.predictions.loc[common], other.predictions.loc[common]
    if not (one["emotion"] == two["emotion"]).all():
        raise UserError(f"{first.folder} and {other.folder} have other labels for one utterance")
    columns = ["speaker", "corpus", "emotion"]
    two = two.assign(**{name: one[name] for name in columns})  # of one order of speakers
    sums = first.count(one), first.count(two)
    return Difference(
        utterances=len(common),
        speakers=sums[0].speakers,
        uar=sums[1].total("uar") - sums[0].total("uar"),
        interval=find_differences(*sums).get("uar"),
        p=compare_uar(*sums),
    )


@dataclass(frozen=True)
class Comparison:
    """Runs by name, their counts by speaker, and the difference of each to the first."""

    runs: dict[str, EvaluatedRun]
    counts: dict[str, SpeakerCounts]
    differences: dict[str, Difference | None]

    @property
    def intervals(self) -> dict[str, Interval | None]:
        return {name: find_intervals(counts).get("uar") for name, counts in self.counts.items()}

    def tabulate(self) -> Table:
        intervals, rows = self.intervals, []
        for name, run in self.runs.items():
            scores = run.scores
            rows.append(
                [
                    name,
                    fraction(run.val_uar),
                    fraction(scores.uar),
                    show_interval(intervals[name]),
                    fraction(scores.accuracy),
                    fraction(scores.macro_f1),
                    *describe_difference(self.differences.get(name)),
                    count(self.counts[name].speakers),
                ]
            )
        return Table(COLUMNS, rows)

    def tabulate_runs(self) -> Table:
        """The settings that not all runs have, the number of utterances, and the folders."""
        settings = own_settings(list(self.runs.values()))
        rows = [
            [name, own or "–", count(run.scores.utterances), str(run.folder)]
            for (name, run), own in zip(self.runs.items(), settings, strict=True)
        ]
        return Table([*DESCRIPTION, "utterances", "folder"], rows, alignment="llrl")

    def warnings(self) -> list[str]:
        """What a reader must know before choosing one of the runs."""
        runs = self.runs
        synthetic = [name for name, run in runs.items() if run.synthetic]
        words = [f"{', '.join(synthetic)}: {texts.SYNTHETIC}"] if synthetic else []
        evaluated = {(run.synthetic, frozenset(run.predictions.index)) for run in runs.values()}
        if len(evaluated) > 1:
            found = self.differences.items()
            shared = [f"{each.utterances:,} of {name}" for name, each in found if each is not None]
            common = " Differences are over the utterances in common with the first run: "
            words.append(
                "The runs evaluated different utterances, so their scores are not comparable: train"
                " both on one split (split.manifest=RUN/manifest.csv), or evaluate both on the same"
                " data." + (f"{common}{', '.join(shared)}." if shared else "")
            )
        if len({frozenset(run.labels) for run in runs.values()}) > 1:
            words.append(
                "The runs have different classes. Fewer classes have a higher chance level, so no"
                " score here, val UAR included, says which run is better, and differences between"
                " runs of different classes are not computed."
            )
        for name, counts in self.counts.items():
            if reason := explain_missing(counts):
                words.append(f"{name} has no interval: {reason}.")
        words += self.warn_of_choice()
        found = self.differences.values()
        tested = sum(each is not None and each.p is not None for each in found)
        if tested > 1:
            words.append(
                f"{tested} differences are tested. Even if all runs were equally good,"
                f" about one test in twenty would have p < {ALPHA}."
            )
        return words

    def warn_of_choice(self) -> list[str]:
        """Warnings about choosing a run by scores of another part than validation."""
        parts = {run.part for run in self.runs.values()} - {"val"}
        if not parts:
            return []
        words = [
            f"These are scores of the {' and '.join(sorted(parts))} part. Choose a run by its val"
            " UAR: the best of several such scores is too optimistic."
        ]
        validated = {n: run.val_uar for n, run in self.runs.items() if run.val_uar is not None}
        best = max(self.runs, key=lambda name: self.runs[name].scores.uar)
        chosen = max(validated, key=lambda name: validated[name]) if validated else best
        if best in validated and validated[best] < validated[chosen]:
            words.append(f"{best} is best here, but validation chooses {chosen}.")
        return words


def describe_difference(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["–", "–", "–"]
    star = "*" if difference.certain else ""
    interval = show_interval(difference.interval, SIGNED)
    return [f"{signed(difference.uar)}{star}", interval, show_p(difference.p)]


def compare(runs: Sequence[EvaluatedRun]) -> Comparison:
    """Score each run, and test its difference to the first; UserError if one is given twice."""
    folders = [run.folder.resolve() for run in runs]
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UserError(f"{runs[place].folder} is given twice: name each run once")
    named = dict(zip(name_folders(runs), runs, strict=True))
    first, *others = named
    return Comparison(
        runs=named,
        counts={name: run.count() for name, run in named.items()},
        differences={name: differ(named[first], named[name]) for name in others},
    )


def show(comparison: Comparison) -> None:
    """Print tables that fit a terminal, the warnings and the method."""
    print_all(comparison.tabulate().only(NARROW), comparison.tabulate_runs().only(DESCRIPTION))
    for words in comparison.warnings():
        print_all(words, style="yellow")
    if comparison.differences:
        print_all(METHOD)


def write(comparison: Comparison, folder: Path) -> None:
    """Write comparison.html and comparison.md into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    intervals = comparison.intervals
    rows = [
        (name, run.scores.uar, interval and interval.ends)
        for (name, run), interval in zip(comparison.runs.items(), intervals.values(), strict=True)
    ]
    figure = draw_intervals(rows)
    synthetic = any(run.synthetic for run in comparison.runs.values())
    parts = sorted({run.part for run in comparison.runs.values()})
    mark(figure, f"{' and '.join(parts)} part", synthetic=synthetic)
    context = {
        "table": comparison.tabulate(),
        "runs": comparison.tabulate_runs(),
        "warnings": comparison.warnings(),
        "method": f"{texts.INTERVALS} {METHOD}",
    }
    picture = page.picture(figure, "UAR of each run with its interval")
    html = page.render("comparison.html", picture=picture, **context)
    write_text(folder / "comparison.html", html)
    write_text(folder / "comparison.md", page.render("comparison.md", **context))
