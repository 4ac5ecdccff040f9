"""The figures of a report, and what is said beside each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure
from scipy.special import softmax

from ser import history, page, splits
from ser.calibration import Reliability, reliability
from ser.corpora import CORPORA
from ser.figures import (
    draw_confusion,
    draw_curves,
    draw_distribution,
    draw_intervals,
    draw_reliability,
    draw_strips,
    mark,
)
from ser.findings import Findings
from ser.judgement import Predicted
from ser.model import run_folder

ALL_PARTS = "utterances, all parts"


@dataclass(frozen=True)
class Shown:
    """A figure of the report: its file name, its section, what it shows, and a caption."""

    name: str
    section: str
    figure: Figure
    alt: str
    caption: str = ""

    @cached_property
    def svg(self) -> str:
        return page.draw_svg(self.figure)


def draw(findings: Findings) -> list[Shown]:
    """All figures, marked with what they are of."""
    marked = [*draw_scores(findings), *draw_robustness(findings)]
    for shown in marked:
        mark(shown.figure, findings.named_part, synthetic=findings.synthetic)
    return [*marked, *draw_distributions(findings), *draw_history(findings)]


def draw_scores(findings: Findings) -> Sequence[Shown]:
    overall, predicted = findings.overall, findings.predicted
    names, confusion = predicted.names, overall.scores.confusion
    chance = overall.baselines.chance
    groups = {**findings.corpora, **findings.genders, "all": overall}
    rows = [(name, each.scores.uar, each.intervals.get("uar")) for name, each in groups.items()]
    strips: dict[str, list[float]] = {}
    for row in findings.speakers.values():
        strips.setdefault(row.corpus, []).append(row.uar)
    shares = draw_confusion(confusion, names)
    counts = draw_confusion(confusion, names, normalised=False)
    intervals = draw_intervals(rows, chance)
    if strips:
        figure = draw_strips(strips, chance)
        speakers = [Shown("speakers", "speakers", figure, "UAR of each speaker")]
    else:
        speakers = []
    calibration = draw_reliability(diagrams(predicted))
    how = "Above: how often predictions of a confidence are right. Below: how many there are."
    return (
        Shown("confusion_normalised", "confusion", shares, "Confusion matrix, shares"),
        Shown("confusion_counts", "confusion", counts, "Confusion matrix, counts"),
        Shown("groups", "groups", intervals, "UAR by corpus and gender", "UAR, 95 % interval"),
        *speakers,
        Shown("reliability", "calibration", calibration, "Reliability diagram", how),
    )


def diagrams(predicted: Predicted) -> dict[str, Reliability]:
    temperatures = {"As trained": 1.0, "Calibrated": predicted.temperature}
    return {
        name: reliability(softmax(predicted.logits / temperature, axis=1), predicted.labels)
        for name, temperature in temperatures.items()
        if temperature is not None
    }


def draw_distributions(findings: Findings) -> list[Shown]:
    utterances, names = findings.manifest.utterances, findings.predicted.names
    found = set(utterances["corpus"])
    corpora = [name for name in CORPORA if name in found] + sorted(found - set(CORPORA))
    panels = {"part": ("split", splits.PARTS), "corpus": ("corpus", corpora)}
    if findings.part == "whole":
        del panels["part"]
    shown = []
    for name, (column, order) in panels.items():
        figure = draw_distribution(utterances, column, order, names)
        mark(figure, ALL_PARTS, synthetic=findings.synthetic)
        alt = f"How many utterances of each emotion, by {name}"
        shown.append(Shown(f"distribution_by_{name}", "distribution", figure, alt))
    return shown


def draw_history(findings: Findings) -> list[Shown]:
    """Learning curves, where the run has a log."""
    log = history.read(run_folder(findings.checkpoint))
    if log is None or not log.panels():
        return []
    figure = draw_curves(log.panels(), "optimiser steps")
    return [Shown("learning_curves", "curves", figure, "Learning curves")]


def draw_robustness(findings: Findings) -> list[Shown]:
    if findings.robustness is None:
        return []
    figure = findings.robustness.draw()
    return [Shown("robustness", "robustness", figure, "UAR and accuracy under disturbances")]
