"""What a person sees of a run: tables in the terminal, and the files of `report/`."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ser import splits
from ser.config import DataConfig
from ser.corpora import CORPORA
from ser.figures import draw_confusion, draw_distribution, mark
from ser.manifest import Manifest, Reason
from ser.metrics import Scores

SCHEMA = 1  # of metrics.json; a change that breaks readers gets a new number


@dataclass(frozen=True)
class Evaluation:
    """All that the report tells: scores overall and by corpus, each prediction, the data."""

    checkpoint: Path
    part: str
    synthetic: bool
    labels: tuple[str, ...]
    scores: Scores
    corpora: dict[str, Scores]
    predictions: pd.DataFrame
    manifest: Manifest


def write(evaluation: Evaluation, folder: Path) -> None:
    """Write metrics.json, predictions.csv and the figures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "metrics.json", to_json(describe(evaluation)))
    table = evaluation.predictions.to_csv(index=False, float_format="%.6f")
    write_text(folder / "predictions.csv", table)
    confusion, labels = evaluation.scores.confusion, evaluation.labels
    utterances = evaluation.manifest.utterances
    corpora = [name for name in CORPORA if name in set(utterances["corpus"])]
    figures = {
        "confusion_normalised": draw_confusion(confusion, labels),
        "confusion_counts": draw_confusion(confusion, labels, normalised=False),
        "distribution_by_part": draw_distribution(utterances, "split", splits.PARTS, labels),
        "distribution_by_corpus": draw_distribution(utterances, "corpus", corpora, labels),
    }
    for name, figure in figures.items():
        about = (
            "utterances, all parts"
            if name.startswith("distribution")
            else f"{evaluation.part} part"
        )
        mark(figure, about, synthetic=evaluation.synthetic)
        figure.savefig(folder / f"{name}.png.tmp", dpi=160, format="png")
        (folder / f"{name}.png.tmp").replace(folder / f"{name}.png")


def write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def to_json(content: dict[str, Any]) -> str:
    """Indented JSON with lists of numbers on one line, as a matrix is read."""
    text = json.dumps(content, indent=2)
    return re.sub(r"\[[\s\d,]+\]", lambda match: " ".join(match[0].split()), text) + "\n"


def describe_scores(scores: Scores) -> dict[str, Any]:
    """Plain values; what cannot be said of a class that does not occur is null."""
    plain = asdict(scores)
    for row in plain["classes"].values():
        if not row["support"]:
            row |= {"recall": None, "f1": None, "precision": None}
    return plain


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """The content of metrics.json."""
    leaks = splits.find_leaks(evaluation.manifest.utterances)
    return {
        "schema": SCHEMA,
        "checkpoint": str(evaluation.checkpoint),
        "part": str(evaluation.part),
        "synthetic": evaluation.synthetic,
        "manifest": evaluation.manifest.fingerprint,
        "labels": list(evaluation.labels),
        "overall": describe_scores(evaluation.scores),
        "corpora": {name: describe_scores(scores) for name, scores in evaluation.corpora.items()},
        "speakers_in_several_parts": len(leaks.speakers),
        "dropped": evaluation.manifest.dropped["reason"].value_counts().to_dict(),
    }


def show_data(manifest: Manifest, data: DataConfig) -> None:
    """Print how many utterances each part has of each corpus, and what was dropped and why."""
    utterances, console = manifest.utterances, Console(soft_wrap=True)
    if data.synthetic is not None:
        console.print("Synthetic data: generated tones, nobody is speaking.", style="bold yellow")
    table = Table("corpus")
    for column in (*splits.PARTS, "speakers", "dropped"):
        table.add_column(column, justify="right")
    for corpus, rows in utterances.groupby("corpus"):
        parts = [f"{(rows['split'] == part).sum():,}" for part in splits.PARTS]
        lost = (manifest.dropped["corpus"] == corpus).sum()
        table.add_row(str(corpus), *parts, str(rows["speaker"].nunique()), f"{lost:,}")
    console.print(table)
    reasons = manifest.dropped["reason"].value_counts().sort_index()
    if len(reasons):
        counts = ", ".join(f"{name} {count:,}" for name, count in reasons.items())
        console.print(f"Files dropped: {reasons.sum():,} ({counts}), each listed in dropped.csv.")
    trimmed = (utterances["seconds"] > data.max_seconds).sum()
    if trimmed:
        console.print(f"Longer than data.max_seconds={data.max_seconds}, and trimmed: {trimmed:,}.")
    if data.synthetic is None:
        show_missing(manifest, console)
    warn_of_overlap(utterances, console)


def warn_of_overlap(utterances: pd.DataFrame, console: Console) -> None:
    """Print how many speakers are on both sides, which scores alone do not tell."""
    shared = splits.find_leaks(utterances).speakers
    if shared:
        console.print(
            f"{len(shared)} of {utterances['speaker'].nunique()} speakers are in more than one"
            " part, so scores flatter the model; split=speaker keeps them apart."
        )


def show_missing(manifest: Manifest, console: Console) -> None:
    """Print which corpora have fewer files than a complete copy."""
    dropped = manifest.dropped[manifest.dropped["reason"] != Reason.MIRROR]
    named = pd.concat([manifest.utterances, dropped[dropped["id"] != ""]])
    for name, rows in named.groupby("corpus"):
        corpus = CORPORA[str(name)]
        if len(rows) < corpus.files:
            console.print(f"{corpus.title} is incomplete: {len(rows):,} of {corpus.files:,} files.")


def show_run(output_dir: Path, checkpoint: Path | None, monitor: str, score: float) -> None:
    """Print where a finished run lies, and what to do with it."""
    console = Console(soft_wrap=True)
    if checkpoint is None:
        last = output_dir / "checkpoints" / "last.ckpt"
        kept = f"only {shorten(last)} was kept" if last.exists() else "no checkpoint was kept"
        console.print(f"Done. No validation chose a best checkpoint; {kept}.")
        return
    console.print(f"Best {monitor} {score:.3f}. The run is in {shorten(output_dir)}")
    console.print(f"To evaluate it: python evaluate.py ckpt={shorten(checkpoint)}")


def show_scores(evaluation: Evaluation, folder: Path) -> None:
    """Print the scores by class and by corpus, and where the report lies."""
    console, scores = Console(soft_wrap=True), evaluation.scores
    note = ": synthetic tones, a check of the software" if evaluation.synthetic else ""
    console.print(f"{evaluation.part} part, {scores.utterances:,} utterances{note}")
    table = Table("emotion")
    for column in ("precision", "recall", "F1", "utterances"):
        table.add_column(column, justify="right")
    for name, row in scores.classes.items():
        if row.support:
            figures = (f"{value:.3f}" for value in (row.precision, row.recall, row.f1))
            table.add_row(name, *figures, f"{row.support:,}")
    console.print(table)
    table = Table("corpus")
    for column in ("accuracy", "UAR", "macro F1", "utterances"):
        table.add_column(column, justify="right")
    for name, part in {**evaluation.corpora, "all": scores}.items():
        figures = (f"{value:.3f}" for value in (part.accuracy, part.uar, part.macro_f1))
        table.add_row(name, *figures, f"{part.utterances:,}", style="bold" if name == "all" else "")
    console.print(table)
    warn_of_overlap(evaluation.manifest.utterances, console)
    console.print(f"Report: {shorten(folder)}")


def shorten(path: Path) -> Path:
    """The path as seen from here, where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
