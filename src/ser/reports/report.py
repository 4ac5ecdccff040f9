"""The report of an evaluation: the files of `report/`, and the tables in the terminal."""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser.config.callbacks import name_metric
from ser.config.train import LAST_CHECKPOINT
from ser.evaluation.result import EvaluationResult
from ser.metrics.summary import GroupMetrics, Predictions
from ser.models.checkpoint import run_folder
from ser.reports import adaptation, context, metrics_json
from ser.reports import html as page
from ser.reports import robustness as robust
from ser.reports.analysis import Analysis, analyse
from ser.reports.clips import find_restricted, list_cells, show_error, tabulate_errors
from ser.reports.plots import FIGURES, ReportFigure, draw
from ser.reports.robustness import RobustnessResult
from ser.reports.sections import tabulate_emotions
from ser.reports.tables import Table, count, fraction, show_interval
from ser.reports.terminal import show, show_command
from ser.system.atomic import draft_of, naming, replacing, write_text
from ser.system.files import shorten
from ser.system.spreadsheet import FORMULA, escape_cell
from ser.training import logs

TITLES = {
    "result": "Result",
    "confusion": "Confusion matrix",
    "emotions": "Emotions",
    "groups": "Groups",
    "speakers": "Speakers",
    "sentences": "Sentences",
    "adaptation": "Adaptation to speakers",
    "listeners": "Listeners",
    "calibration": "Calibration",
    "selective": "Abstention",
    "training": "Training",
    "robustness": "Robustness",
    "errors": "Most confident errors",
    "suspects": "Suspected label errors",
    "data": "Data",
    "reproduce": "How to reproduce",
}
SECTIONS = (
    "groups",
    "speakers",
    "calibration",
    "selective",
    "curves",
    "robustness",
    "distribution",
)
PIECE = 10_000  # rows of predictions.csv at a time: text takes far more memory than numbers


@dataclass(frozen=True)
class Report:
    """A result with all that is shown of it."""

    result: EvaluationResult
    analysis: Analysis
    robustness: RobustnessResult | None
    history: logs.History | None
    figures: Sequence[ReportFigure]


def write(result: EvaluationResult, folder: Path, *, restricted_audio: bool = False) -> None:
    """Write the files of a report into a folder, all of them or, if that fails, none.

    These are report.html, report.md, metrics.json, predictions.csv, logits.npy, label_errors.csv,
    figures/ and robustness/. Audio of corpora whose terms forbid passing it on is in the page only
    with `restricted_audio`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = build(result, folder)
    with publishing(folder) as new:
        for figure in report.figures:
            figure.write(new)
        if report.robustness is not None:
            robust.write(report.robustness, new)
        with replacing(new / "logits.npy") as file:
            np.save(file, result.predicted.logits.astype(np.float32))
        write_predictions(result.predicted, new / "predictions.csv")
        write_table(report.analysis.label_errors, new / "label_errors.csv")
        words = context.describe(result, report.analysis, report.robustness, report.history)
        text = write_page(report, words, restricted_audio=restricted_audio)
        write_text(new / "report.html", text)
        write_text(new / "report.md", page.render("report.md", **words))
        content = report.robustness and report.robustness.content
        described = metrics_json.describe(result, report.analysis, content)
        write_text(new / "metrics.json", metrics_json.to_json(described))


def build(result: EvaluationResult, folder: Path) -> Report:
    analysis = analyse(result)
    unknown = result.foreign_model or bool(result.ensemble)
    history = None if unknown else logs.read(run_folder(result.checkpoint))
    robustness = robust.find(result, folder)
    figures = draw(result, analysis, history)
    if robustness is not None:
        figures += robust.draw(robustness, result.overall.baselines.chance)
    return Report(result, analysis, robustness, history, figures)


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """A new folder, whose files replace those in `folder` once the block ends without an error."""
    new = draft_of(folder / "report")
    try:
        with naming(folder, new):
            new.mkdir()
            yield new
        files = sorted(path.relative_to(new) for path in new.rglob("*") if path.is_file())
        for place in files:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (new / place).replace(folder / place)
        for name in (FIGURES, robust.FOLDER):
            remove_outdated(folder / name, {folder / place for place in files})
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove_outdated(folder: Path, current: set[Path]) -> None:
    """Remove the figures and results of an earlier report, and the folder if it is empty then."""
    for path in folder.glob("*"):
        if path not in current and path.suffix in (".png", ".svg", ".json"):
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def write_page(report: Report, words: dict, *, restricted_audio: bool) -> str:
    """The text of report.html."""
    result = report.result
    figures: dict[str, list] = {name: [] for name in SECTIONS}
    for each in report.figures:
        if each.section in figures:
            figures[each.section].append((page.embed(each.svg, each.alt), each.caption))
    restricted = {} if restricted_audio else find_restricted(result)
    silent = [error for error in result.misclassified if error.corpus in restricted]
    audible = [error for error in result.misclassified if error.corpus not in restricted]
    absent = {
        "training": not figures["curves"],
        "speakers": not figures["speakers"],
        "robustness": report.robustness is None,
        "sentences": words["sentences"] is None,
        "adaptation": words["adaptation"] is None,
        "listeners": words["listeners"] is None,
        "suspects": words["suspects"] is None,
    }
    return page.render(
        "report.html",
        figures=figures,
        sections=[item for item in TITLES.items() if not absent.get(item[0])],
        heat=page.Heat(result.predicted.names, result.overall.scores.confusion),
        cells=list_cells(result.predicted),
        errors=[show_error(error) for error in audible],
        silent=tabulate_errors(silent),
        restricted={name: restricted[name] for name in sorted({e.corpus for e in silent})},
        **words,
    )


def write_predictions(predicted: Predictions, path: Path) -> None:
    """Write one row per utterance, in pieces."""
    with replacing(path) as file:
        for start in range(0, len(predicted.logits), PIECE):
            table = escape_table(predicted.only(slice(start, start + PIECE)).tabulate())
            table.to_csv(file, index=False, header=start == 0, float_format="%.6f", mode="wb")


def write_table(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as file:
        escape_table(table).to_csv(file, index=False, float_format="%.6f", mode="wb")


def escape_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table with text that a spreadsheet would run as a formula escaped."""
    text = [str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    cells = {name: table[name].fillna("").astype(str) for name in text}
    risky = [n for n in text if cells[n].str.lstrip("'").str.startswith(FORMULA).any()]
    return table.assign(**{name: cells[name].map(escape_cell) for name in risky})


def show_run(output_dir: Path, checkpoint: Path | None, monitor: str, score: float) -> None:
    """Print the folder of a finished run and the next command."""
    if checkpoint is None:
        last = output_dir / LAST_CHECKPOINT
        kept = f"only {shorten(last)} was saved" if last.exists() else "no checkpoint was saved"
        show(f"Done. No best checkpoint, because nothing was validated; {kept}.")
        return
    show(f"Best checkpoint: {name_metric(monitor)} {score:.3f}. Run folder: {shorten(output_dir)}")
    show("Evaluate it with:")
    show_command(shlex.join(["ser", "evaluate", f"ckpt={shorten(output_dir)}"]))


def show_scores(result: EvaluationResult, folder: Path) -> None:
    """Print the scores by emotion and by corpus, and the path of the report."""
    overall = result.overall
    note = " (synthetic tones: a test of the software)" if result.synthetic else ""
    show(f"{result.named_part}: {overall.scores.utterances:,} utterances{note}")
    corpora = result.corpora if len(result.corpora) == 1 else {**result.corpora, "all": overall}
    show(tabulate_emotions(overall), tabulate_corpora(corpora))
    if overall.no_interval:
        show(f"No interval for the UAR: {overall.no_interval}.")
    if result.robustness is not None:
        show(robust.tabulate(RobustnessResult(result.robustness.to_plain(), {})))
    if result.adaptation is not None:
        show(adaptation.summarize(result.adaptation))
    if result.left_out:
        show(result.describe_left_out())
    show(result.describe_overlap())
    if result.overlap.flatters and result.part != "train" and not result.foreign_model:
        advice = "" if result.overlap.foreign else "; split=speaker keeps speakers apart"
        show(f"Scores are higher than for new speakers{advice}.")
    show(f"Report: {shorten(folder / 'report.html')}")


def tabulate_corpora(groups: dict[str, GroupMetrics]) -> Table:
    """UAR with interval, accuracy, macro F1 and chance by corpus, for a terminal."""
    rows = [
        [
            name,
            fraction(each.scores.accuracy),
            fraction(each.scores.uar),
            show_interval(each.intervals.get("uar")),
            fraction(each.scores.macro_f1),
            fraction(each.baselines.chance),
            count(each.scores.utterances),
        ]
        for name, each in groups.items()
    ]
    columns = ["corpus", "accuracy", "UAR", "95% interval", "macro F1", "chance", "utterances"]
    return Table(columns, rows, strong=("all",))
