"""Robustness in a report: kept in `robustness/` until the checkpoint or the data change."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.config.precision import Precision
from ser.evaluation.perturbations import PERTURBATIONS
from ser.evaluation.result import EvaluationResult
from ser.figures.curves import draw_levels
from ser.inference.load import find_weights
from ser.reports.plots import ReportFigure
from ser.reports.tables import Table, fraction
from ser.system.atomic import write_text

FOLDER, FILE = "robustness", "robustness.json"
SCORES = {"uar": "UAR", "accuracy": "accuracy"}


@dataclass(frozen=True)
class RobustnessResult:
    """Scores without and with perturbations, as plain values, and what they were measured on."""

    content: dict[str, Any]
    measured_on: dict[str, str]

    @property
    def utterances(self) -> int:
        return int(self.content["utterances"])

    @property
    def plain(self) -> dict[str, float]:
        """The scores without a perturbation."""
        return self.content["undisturbed"]

    @property
    def curves(self) -> dict[str, list[dict[str, float]]]:
        return self.content["curves"]


def find(result: EvaluationResult, folder: Path) -> RobustnessResult | None:
    """What was measured now, or earlier on the same checkpoint and data; else None."""
    if result.robustness is not None:
        return RobustnessResult(result.robustness.to_plain(), identify(result))
    file = folder / FOLDER / FILE
    if not file.is_file():
        return None
    try:
        stored = RobustnessResult(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None
    now = identify(result)
    # Earlier versions recorded less, and measured in fp32 at one speed.
    earlier = now | {"precision": str(Precision.fp32), "speeds": "1"}
    return stored if earlier | stored.measured_on == now else None


def identify(result: EvaluationResult) -> dict[str, str]:
    """What scores depend on: the bytes of the weights, the utterances, precision and speeds."""
    digests = []
    own = [result.checkpoint] if result.checkpoint.is_file() else []
    for path in find_weights(result.checkpoint) if result.ensemble else own:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    digest = " ".join(digests) or str(result.checkpoint)  # of a model that is not a checkpoint
    contents = "\n".join(result.predicted.utterances["content"])
    return {
        "checkpoint_sha256": digest,
        "manifest": result.manifest.fingerprint,
        "part": str(result.part),
        "utterances_sha256": hashlib.sha256(contents.encode()).hexdigest(),
        "precision": str(result.precision),
        "speeds": " ".join(f"{speed:g}" for speed in result.speeds),
    }


def write(found: RobustnessResult, folder: Path) -> None:
    """Write `robustness/robustness.json` into the folder of a report."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    content = {"content": found.content, "measured_on": found.measured_on}
    write_text(folder / FOLDER / FILE, json.dumps(content, indent=2) + "\n")


def describe(found: RobustnessResult) -> str:
    return (
        f"Measured on {found.utterances:,} utterances. Each figure starts without perturbation on"
        " the left and ends with the strongest one on the right. Waveforms are normalised before"
        " the network, so a change of level harms only by clipping and rounding."
    )


def tabulate(found: RobustnessResult) -> Table:
    rows = [["none", "", *(fraction(found.plain[name]) for name in SCORES)]]
    for name, points in found.curves.items():
        for point in points:
            level = f"{point['level']:g} {unit_of(name)}"
            rows.append([title_of(name), level, *(fraction(point[score]) for score in SCORES)])
    return Table(["perturbation", "level", *SCORES.values()], rows)


def title_of(name: str) -> str:
    return PERTURBATIONS[name].title if name in PERTURBATIONS else name


def unit_of(name: str) -> str:
    return PERTURBATIONS[name].unit if name in PERTURBATIONS else ""


def draw(found: RobustnessResult, chance: float) -> list[ReportFigure]:
    """One figure for each perturbation; all have the same range of scores."""
    every = [found.plain, *(point for points in found.curves.values() for point in points)]
    limits = [value[score] for value in every for score in SCORES] + [chance]
    figures = []
    for name, points in found.curves.items():
        along = [found.plain, *points]
        levels = ["none", *(f"{point['level']:g}" for point in points)]
        curves = {title: [each[score] for each in along] for score, title in SCORES.items()}
        title = f"{title_of(name)} ({unit_of(name)})"
        figure = draw_levels(
            levels, curves, title, chance=chance, limits=(min(limits), max(limits))
        )
        alt = f"UAR and accuracy by level of {title}"
        figures.append(ReportFigure(f"{FOLDER}/{name}", "robustness", figure, alt))
    return figures
