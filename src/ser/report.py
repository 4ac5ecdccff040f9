"""What a person sees of a run: tables in the terminal, and the files of `report/`."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ser import report_page
from ser.atomic import replacing, write_text
from ser.findings import Findings
from ser.intervals import show_interval
from ser.judgement import Judgement, Predicted
from ser.leaks import find_leaks
from ser.report_figures import draw

SCHEMA = 2  # of metrics.json, docs/metrics.md; a change that breaks readers gets a new number


def write(findings: Findings, folder: Path) -> None:
    """Write report.html, report.md, metrics.json, predictions.csv and figures/ into a folder."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    write_text(folder / "metrics.json", to_json(describe(findings)))
    write_predictions(findings.predicted, folder / "predictions.csv")
    shown = draw(findings)
    for picture in shown:
        write_figure(picture.figure, picture.svg, folder / "figures" / picture.name)
    write_text(folder / "report.html", report_page.write_page(findings, shown))
    write_text(folder / "report.md", report_page.write_markdown(findings))


def write_figure(figure: Figure, svg: str, path: Path) -> None:
    """Write a figure as PNG and as SVG on white."""
    with replacing(path.with_suffix(".png")) as file:
        figure.savefig(file, dpi=130, format="png", facecolor="white")
    # `style` because an SVG has no background of its own.
    write_text(path.with_suffix(".svg"), svg.replace("<svg ", '<svg style="background:#fff" ', 1))


def write_predictions(predicted: Predicted, path: Path) -> None:
    """Write one row an utterance, in pieces: text takes far more memory than numbers."""
    with replacing(path) as file:
        for start in range(0, len(predicted.logits), 10_000):
            rows = slice(start, start + 10_000)
            piece = replace(
                predicted, utterances=predicted.utterances[rows], logits=predicted.logits[rows]
            )
            table = piece.tabulate()
            table.to_csv(file, index=False, header=start == 0, float_format="%.6f", mode="wb")


def to_json(content: dict[str, Any]) -> str:
    """Indented JSON with lists of numbers on one line, as a matrix is read."""
    text = json.dumps(content, indent=2, allow_nan=False)
    return re.sub(r"\[[\s\d,.]+\]", lambda match: " ".join(match[0].split()), text) + "\n"


def describe_judgement(judgement: Judgement) -> dict[str, Any]:
    """Plain values; what cannot be said of a class that does not occur is null."""
    plain = asdict(judgement)
    plain |= plain.pop("scores")
    for row in plain["classes"].values():
        if not row["support"]:
            row |= {"recall": None, "f1": None, "precision": None}
    return plain


def describe(findings: Findings) -> dict[str, Any]:
    """The content of metrics.json, as docs/metrics.md explains it."""
    leaks = find_leaks(findings.manifest.utterances)
    return {
        "schema": SCHEMA,
        "checkpoint": str(findings.checkpoint),
        "part": str(findings.part),
        "synthetic": findings.synthetic,
        "manifest": findings.manifest.fingerprint,
        "labels": list(findings.predicted.names),
        "temperature": findings.predicted.temperature,
        "val_uar": findings.val_uar,
        "overall": describe_judgement(findings.overall),
        "corpora": {name: describe_judgement(each) for name, each in findings.corpora.items()},
        "genders": {name: describe_judgement(each) for name, each in findings.genders.items()},
        "speakers": {name: asdict(row) for name, row in findings.speakers.items()},
        "exposure": asdict(findings.exposure),
        "robustness": findings.robustness and findings.robustness.to_plain(),
        "speakers_in_several_parts": len(leaks.speakers),
        "left_out": findings.left_out,
        "dropped": findings.manifest.dropped["reason"].value_counts().to_dict(),
        "parameters": findings.parameters,
        "config": findings.blueprint.config,
    }


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


def show_scores(findings: Findings, folder: Path) -> None:
    """Print the scores by class and by corpus, and where the report lies."""
    console, overall = Console(soft_wrap=True), findings.overall
    note = ": synthetic tones, a check of the software" if findings.synthetic else ""
    console.print(f"{findings.named_part}, {overall.scores.utterances:,} utterances{note}")
    table = Table("emotion")
    for column in ("precision", "recall", "F1", "utterances"):
        table.add_column(column, justify="right")
    for name, row in overall.scores.classes.items():
        if row.support:
            figures = (f"{value:.3f}" for value in (row.precision, row.recall, row.f1))
            table.add_row(name, *figures, f"{row.support:,}")
    console.print(table)
    table = Table("corpus")
    for column in ("accuracy", "UAR", "95 % interval", "macro F1", "chance", "utterances"):
        table.add_column(column, justify="right")
    for name, each in {**findings.corpora, "all": overall}.items():
        interval, scores = each.intervals.get("uar"), each.scores
        table.add_row(
            name,
            f"{scores.accuracy:.3f}",
            f"{scores.uar:.3f}",
            show_interval(interval, "{:.3f} to {:.3f}", 1),
            f"{scores.macro_f1:.3f}",
            f"{each.baselines.chance:.3f}",
            f"{scores.utterances:,}",
            style="bold" if name == "all" else "",
        )
    console.print(table)
    if findings.left_out:
        console.print(findings.describe_left_out())
    console.print(findings.exposure.describe())
    if findings.exposure.flatters and findings.part != "train":
        advice = "" if findings.exposure.foreign else "; split=speaker keeps speakers apart"
        console.print(f"So scores flatter the model{advice}.")
    if findings.robustness is not None:
        console.print(
            "The report shows how scores change with noise, band, rooms, levels and length."
        )
    console.print(f"Report: {shorten(folder / 'report.html')}")


def shorten(path: Path) -> Path:
    """The path as seen from here, where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
