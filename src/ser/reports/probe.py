"""The report of `ser probe`: UAR over layers with intervals, and the command to train one."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.figures.layers import draw_layers
from ser.figures.style import mark
from ser.metrics.intervals import Interval, SpeakerCounts, count_by_speaker, find_intervals
from ser.reports import html, texts
from ser.reports.plots import FIGURES, ReportFigure
from ser.reports.tables import Table, fraction, show_interval
from ser.reports.terminal import show as print_all
from ser.reports.terminal import show_command
from ser.system.atomic import write_text
from ser.training.probe import LayerProbe, ProbeResult

TITLES = {"train": "train (cross-validated)", "val": "val", "test": "test"}
METHOD = (
    "Each row is a linear classifier on pooled features of frozen layers; layer 0 is the input of"
    " the first layer. The train UAR is cross-validated, in folds without common speakers if these"
    " are known. It chooses the regularisation and the layer (*), so the best one is optimistic;"
    " the other parts choose nothing."
)


@dataclass(frozen=True)
class PartScore:
    """The UAR of a probe on a part, with its interval if the part has one."""

    uar: float
    interval: Interval | None


def score(result: ProbeResult, probe: LayerProbe) -> dict[str, PartScore]:
    """The UAR of a probe on each part, by the name of the part."""
    scores = {}
    for part, predictions in probe.predictions.items():
        counts = count(result, part, predictions)
        scores[part] = PartScore(counts.total("uar"), find_intervals(counts).get("uar"))
    return scores


def count(result: ProbeResult, part: str, predictions: np.ndarray) -> SpeakerCounts:
    """Predicted labels (utterances,) of a part by speaker, with corpora as strata."""
    table = result.parts[part]
    labels = table["emotion"].map(result.labels.index).to_numpy(np.int64)
    speakers, corpora = (table[name].to_numpy(str) for name in ("speaker", "corpus"))
    strata = np.unique(corpora, return_inverse=True)[1]
    classes = len(result.labels)
    return count_by_speaker(speakers, labels, predictions, classes, strata=strata)


def name_layers(layers: list[int]) -> str:
    """The name of a layer, or of the range of several."""
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


def tabulate(result: ProbeResult) -> Table:
    """One row per layer; the chosen one is marked."""
    columns, rows = ["layer", "classifier"], []
    for part in result.parts:
        columns += [f"{part} UAR", f"{part} 95% interval"]
    for probe in result.layers:
        cells: list[str] = []
        for each in score(result, probe).values():
            cells += [fraction(each.uar), show_interval(each.interval)]
        rows.append([name_best(result, probe), str(probe.choice.best), *cells])
    strong = name_best(result, result.best)
    return Table(columns, rows, alignment="ll" + "r" * 2 * len(result.parts), strong=[strong])


def name_best(result: ProbeResult, probe: LayerProbe) -> str:
    return name_layers(probe.layers) + (" *" if probe is result.best else "")


def draw(result: ProbeResult) -> ReportFigure:
    """UAR over layers by part, and the line of chance."""
    scores = [score(result, probe) for probe in result.layers]
    parts = {
        TITLES[part]: [(each[part].uar, ends(each[part].interval)) for each in scores]
        for part in result.parts
    }
    names = [name_layers(probe.layers) for probe in result.layers]
    chance = 1 / result.parts["train"]["emotion"].nunique()
    best = result.layers.index(result.best)
    figure = draw_layers(names, parts, best=best, chance=chance)
    mark(figure, "", synthetic=result.synthetic)
    return ReportFigure(f"{FIGURES}/layers", "layers", figure, "UAR of linear probes by layer")


def ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else interval.ends


def to_plain(result: ProbeResult, command: str) -> dict[str, object]:
    """The scores of all layers, what was chosen, and the command that trains it."""
    return {
        "layers": [describe(result, probe) for probe in result.layers],
        "best": describe(result, result.best),
        "command": command,
        "synthetic": result.synthetic,
    }


def describe(result: ProbeResult, probe: LayerProbe) -> dict[str, object]:
    best = probe.choice.best
    scores = {
        part: {"value": each.uar, "interval": ends(each.interval)}
        for part, each in score(result, probe).items()
    }
    found = {"classifier": str(best.kind), "strength": best.strength, "uar": scores}
    return {"layers": probe.layers, **found}


def notes(result: ProbeResult) -> Iterable[str]:
    if result.synthetic:
        yield texts.SYNTHETIC
    if "test" in result.parts:
        yield "Do not choose a layer by its scores on the test part."


def write(result: ProbeResult, command: str, folder: Path) -> None:
    """Write probe.json, probe.md and figures/layers into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = draw(result)
    context = {
        "table": tabulate(result),
        "notes": list(notes(result)),
        "method": f"{METHOD} {texts.UAR} {texts.INTERVALS}",
        "command": command,
        "figure": f"{shown.file}.png",
        "alt": shown.alt,
    }
    write_text(folder / "probe.json", json.dumps(to_plain(result, command), indent=2) + "\n")
    write_text(folder / "probe.md", html.render("probe.md", **context))
    shown.write(folder)


def show(result: ProbeResult, command: str, folder: Path) -> None:
    """Print the table, the chosen layer and the command that trains it."""
    narrow = ["layer", "classifier", "train UAR", "train 95% interval", "val UAR"]
    if "test" in result.parts:
        narrow.append("test UAR")
    print_all(tabulate(result).only(narrow), METHOD)
    for words in notes(result):
        print_all(words, style="yellow")
    print_all(f"Written: {folder / 'probe.md'}, probe.json, {FIGURES}/layers.png", "")
    print_all(f"Train the head of layer {name_layers(result.best.layers)}:")
    show_command(command)
