"""The figures of a report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure
from scipy.special import softmax

from ser.corpora import CORPORA
from ser.evaluation.result import EvaluationResult
from ser.figures.confusion import draw_confusion
from ser.figures.curves import draw_history, draw_risk_coverage
from ser.figures.distributions import draw_distribution
from ser.figures.scores import Row, draw_intervals, draw_reliability, draw_strips
from ser.figures.style import PARTS as PART_COLOURS
from ser.figures.style import SERIES, mark
from ser.metrics.calibration import reliability
from ser.metrics.summary import GroupMetrics, Predictions
from ser.preparation.splits import PARTS
from ser.reports import html as page
from ser.reports.analysis import Analysis
from ser.system.atomic import replacing, write_text
from ser.training.logs import History

FIGURES = "figures"


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report: its file below the report, its section, its content, and a caption."""

    file: str
    section: str
    figure: Figure
    alt: str
    caption: str = ""

    @cached_property
    def svg(self) -> str:
        return page.draw_svg(self.figure)

    def write(self, folder: Path) -> None:
        """Write the figure as PNG and as SVG on white."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        # An SVG has no background of its own.
        text = self.svg.replace("<svg ", '<svg style="background:#fff" ', 1)
        write_text(path.with_suffix(".svg"), text)
        self.figure.set_layout_engine("none")  # drawing the SVG has laid it out
        with replacing(path.with_suffix(".png")) as file:
            self.figure.savefig(file, dpi=160, format="png", facecolor="white")


def draw(
    result: EvaluationResult, analysis: Analysis, history: History | None
) -> list[ReportFigure]:
    """All figures but those of robustness, marked with the data that they show."""
    scores = [
        *draw_confusions(result),
        draw_groups(result, analysis),
        *draw_speakers(result),
        *draw_calibration(result.predicted),
        draw_selective(analysis),
    ]
    for shown in scores:
        mark(shown.figure, result.named_part, synthetic=result.synthetic)
    distributions = draw_distributions(result)
    for shown in distributions:
        mark(shown.figure, "all parts", synthetic=result.synthetic)
    return [*scores, *distributions, *draw_learning_curves(result, history)]


def draw_confusions(result: EvaluationResult) -> list[ReportFigure]:
    names, confusion = result.predicted.names, result.overall.scores.confusion
    shares = draw_confusion(confusion, names)
    counts = draw_confusion(confusion, names, normalised=False)
    return [
        ReportFigure(
            f"{FIGURES}/confusion_normalised", "confusion", shares, "Confusion matrix, percent"
        ),
        ReportFigure(
            f"{FIGURES}/confusion_counts", "confusion", counts, "Confusion matrix, counts"
        ),
    ]


def draw_groups(result: EvaluationResult, analysis: Analysis) -> ReportFigure:
    """UAR of corpora, genders and all other groups with their intervals."""
    extra = {
        f"{column}: {name}": group
        for column, groups in analysis.groups.items()
        for name, group in groups.items()
    }
    groups = {**result.corpora, **result.genders, **extra, "all": result.overall}
    rows = [interval_row(name, group) for name, group in groups.items()]
    figure = draw_intervals(rows, result.overall.baselines.chance)
    return ReportFigure(
        f"{FIGURES}/groups",
        "groups",
        figure,
        "UAR by group",
        "UAR; bars are 95% intervals, absent with too few speakers",
    )


def interval_row(name: str, group: GroupMetrics) -> Row:
    interval = group.intervals.get("uar")
    return name, group.scores.uar, None if interval is None else interval.ends


def draw_speakers(result: EvaluationResult) -> list[ReportFigure]:
    strips: dict[str, dict[str, float]] = {}
    for name, row in result.speakers.items():
        strips.setdefault(row.corpus, {})[name] = row.uar
    if not strips:
        return []
    figure = draw_strips(strips, result.overall.baselines.chance)
    alt, caption = "UAR of each speaker", "One dot per speaker; hover over it for the name."
    return [ReportFigure(f"{FIGURES}/speakers", "speakers", figure, alt, caption)]


def draw_calibration(predicted: Predictions) -> list[ReportFigure]:
    """Reliability diagrams of the network's own and of calibrated probabilities."""
    kinds = {"as_trained": ("As trained", predicted.logits)}
    if predicted.calibrated is not None and predicted.temperature != 1:
        kinds["calibrated"] = ("Calibrated", predicted.calibrated)
    figures = []
    for (name, (title, logits)), colour in zip(kinds.items(), SERIES, strict=False):
        found = reliability(softmax(logits.astype(float), axis=1), predicted.labels)
        figure = draw_reliability(
            found.confidence,
            found.accuracy,
            found.share,
            f"{title}: calibration error {found.error:.3f}",
            colour=colour,
        )
        file = f"{FIGURES}/reliability_{name}"
        figures.append(
            ReportFigure(file, "calibration", figure, f"Reliability diagram, {title.lower()}")
        )
    return figures


def draw_selective(analysis: Analysis) -> ReportFigure:
    figure = draw_risk_coverage(analysis.selective.coverage, analysis.selective.risk)
    return ReportFigure(f"{FIGURES}/risk_coverage", "selective", figure, "Risk-coverage curve")


def draw_distributions(result: EvaluationResult) -> list[ReportFigure]:
    """Utterances of each emotion by part and by corpus."""
    utterances, names = result.manifest.utterances, result.predicted.names
    found = set(utterances["corpus"])
    corpora = [name for name in CORPORA if name in found] + sorted(found - set(CORPORA))
    panels = {"part": ("split", PARTS, PART_COLOURS), "corpus": ("corpus", corpora, SERIES)}
    if result.part == "whole":
        del panels["part"]
    figures = []
    for name, (column, order, colours) in panels.items():
        sizes = utterances.groupby([column, "emotion"]).size()
        counts = {each: [int(sizes.get((each, label), 0)) for label in names] for each in order}
        figure = draw_distribution(counts, names, colours)
        alt = f"Utterances of each emotion, by {name}"
        file = f"{FIGURES}/distribution_by_{name}"
        figures.append(ReportFigure(file, "distribution", figure, alt))
    return figures


def draw_learning_curves(result: EvaluationResult, history: History | None) -> list[ReportFigure]:
    """Loss and validation scores, with the step of this checkpoint, if the run has a log."""
    if history is None:
        return []
    step, best = None, None
    if result.val_uar is not None and result.trained_steps is not None:
        step = history.last_validation(result.trained_steps)
    if step is not None:
        epoch = history.epoch_at(step)
        best = (step, "this checkpoint" + ("" if epoch is None else f", epoch {epoch}"))
    figures = []
    for title, curves in history.panels().items():
        figure = draw_history(curves, title, best=best, scores=title != "Loss")
        file = f"{FIGURES}/learning_curves_{title.split()[0].lower()}"
        figures.append(ReportFigure(file, "curves", figure, f"Learning curves: {title}"))
    return figures
