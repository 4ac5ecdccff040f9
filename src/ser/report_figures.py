"""The figures of a report, and what is said beside each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

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
from ser.judgement import Predicted
from ser.model import run_folder

if TYPE_CHECKING:
    from ser.report import Evaluation

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


def draw(evaluation: "Evaluation") -> list[Shown]:
    """All figures, marked with what they are of."""
    marked = [*draw_scores(evaluation), *draw_robustness(evaluation)]
    for shown in marked:
        mark(shown.figure, evaluation.named_part, synthetic=evaluation.synthetic)
    return [*marked, *draw_distributions(evaluation), *draw_history(evaluation)]


def draw_scores(evaluation: "Evaluation") -> Sequence[Shown]:
    overall, predicted = evaluation.overall, evaluation.predicted
    names, confusion = predicted.names, overall.scores.confusion
    chance = overall.baselines.chance
    groups = {**evaluation.corpora, **evaluation.genders, "all": overall}
    rows = [(name, each.scores.uar, each.intervals.get("uar")) for name, each in groups.items()]
    strips = {
        corpus: [row.uar for row in evaluation.speakers.values() if row.corpus == corpus]
        for corpus in evaluation.corpora
    }
    shares = draw_confusion(confusion, names)
    counts = draw_confusion(confusion, names, normalised=False)
    intervals, speakers = draw_intervals(rows, chance), draw_strips(strips, chance)
    calibration = draw_reliability(diagrams(predicted))
    how = "Above: how often predictions of a confidence are right. Below: how many there are."
    return (
        Shown("confusion_normalised", "confusion", shares, "Confusion matrix, shares"),
        Shown("confusion_counts", "confusion", counts, "Confusion matrix, counts"),
        Shown("groups", "groups", intervals, "UAR by corpus and gender", "UAR, 95 % interval"),
        Shown("speakers", "speakers", speakers, "UAR of each speaker"),
        Shown("reliability", "calibration", calibration, "Reliability diagram", how),
    )


def diagrams(predicted: Predicted) -> dict[str, Reliability]:
    temperatures = {"As trained": 1.0, "Calibrated": predicted.temperature}
    return {
        name: reliability(softmax(predicted.logits / temperature, axis=1), predicted.labels)
        for name, temperature in temperatures.items()
        if temperature is not None
    }


def draw_distributions(evaluation: "Evaluation") -> list[Shown]:
    utterances, names = evaluation.manifest.utterances, evaluation.predicted.names
    found = set(utterances["corpus"])
    corpora = [name for name in CORPORA if name in found] + sorted(found - set(CORPORA))
    panels = {"part": ("split", splits.PARTS), "corpus": ("corpus", corpora)}
    if evaluation.part == "whole":
        del panels["part"]
    shown = []
    for name, (column, order) in panels.items():
        figure = draw_distribution(utterances, column, order, names)
        mark(figure, ALL_PARTS, synthetic=evaluation.synthetic)
        alt = f"How many utterances of each emotion, by {name}"
        shown.append(Shown(f"distribution_by_{name}", "distribution", figure, alt))
    return shown


def draw_history(evaluation: "Evaluation") -> list[Shown]:
    """Learning curves, where the run has a log."""
    log = history.read(run_folder(evaluation.checkpoint))
    if log is None or not log.panels():
        return []
    figure = draw_curves(log.panels(), "optimiser steps")
    return [Shown("learning_curves", "curves", figure, "Learning curves")]


def draw_robustness(evaluation: "Evaluation") -> list[Shown]:
    if evaluation.robustness is None:
        return []
    figure = evaluation.robustness.draw()
    return [Shown("robustness", "robustness", figure, "UAR and accuracy under disturbances")]
