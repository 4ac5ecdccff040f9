"""Pictures: confusion, distributions, scores with intervals, calibration, curves, spectrograms."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser.calibration import Reliability
from ser.intervals import Interval

Curve = tuple[Sequence[float], Sequence[float]]  # along x, along y

# A page replaces these and SERIES by its own, light or dark.
INK, FAINT, ALARM = "#24292f", "#d0d7de", "#b42318"
STYLE: Any = {  # matplotlib types its keys one by one
    **{f"{key}.color": INK for key in ("text", "xtick", "ytick")},
    **{"axes.labelcolor": INK, "axes.edgecolor": FAINT, "axes.titlelocation": "left"},
    **{"axes.spines.top": False, "axes.spines.right": False, "grid.color": FAINT},
}
# Okabe and Ito (2008): told apart with every kind of colour vision.
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")


@rc_context(STYLE)
def draw_confusion(
    confusion: Sequence[Sequence[int]], names: Sequence[str], *, normalised: bool = True
) -> Figure:
    """A confusion matrix, rows true and columns predicted; normalised to the rows, or counts."""
    counts = np.array(confusion, float)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    figure = Figure(figsize=(7, 6.2), layout="constrained")
    axes = figure.subplots()
    shade = np.broadcast_to([0.0, 0.32, 0.6], (*shares.shape, 3))
    # Shares as opacity: an empty cell is as light or dark as the page.
    axes.imshow(np.dstack([shade, 0.04 + 0.96 * shares]))
    for row, column in np.ndindex(*shares.shape):
        if counts[row, column]:
            value = shares[row, column]
            text = f"{value:.0%}" if normalised else f"{counts[row, column]:.0f}"
            colour = "white" if value > 0.5 else INK
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(names)),
        [f"{name} ({int(total)})" for name, total in zip(names, support[:, 0], strict=True)],
    )
    axes.set(xlabel="predicted", ylabel="true (utterances)")
    title = "Share of each true class" if normalised else "Utterances, shaded by share of the row"
    axes.set_title(title, loc="left")
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


@rc_context(STYLE)
def draw_distribution(
    utterances: pd.DataFrame, by: str, order: Sequence[str], labels: Sequence[str]
) -> Figure:
    """Utterances of each emotion in each `split` or `corpus`: one panel each, to its own scale."""
    table = pd.crosstab(utterances["emotion"], utterances[by])
    table = table.reindex(index=list(labels), columns=list(order), fill_value=0)
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    panels = figure.subplots(1, len(order), sharey=True, squeeze=False)[0]
    for axes, name, colour in zip(panels, order, cycle(SERIES), strict=False):
        bars = axes.barh(table.index, table[name], color=colour)
        axes.bar_label(bars, padding=3, fontsize=8, color=INK)
        axes.set_title(f"{name} ({table[name].sum():,})", loc="left", fontsize=11)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color(FAINT)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.margins(x=0.18)
    panels[0].invert_yaxis()
    return figure


@rc_context(STYLE)
def draw_durations(utterances: pd.DataFrame, corpora: Sequence[str]) -> Figure:
    """How many utterances are how long, in seconds: one panel for each corpus, to its own scale."""
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    panels = figure.subplots(1, len(corpora), sharex=True, squeeze=False)[0]
    longest = float(utterances["seconds"].quantile(0.999))
    bins = np.linspace(0, max(longest, 1.0), 41).tolist()
    for axes, name, colour in zip(panels, corpora, cycle(SERIES), strict=False):
        seconds = utterances.loc[utterances["corpus"] == name, "seconds"]
        axes.hist(seconds.clip(upper=bins[-1]), bins=bins, color=colour)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("seconds")
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
    return figure


@rc_context(STYLE)
def mark(figure: Figure, text: str, *, synthetic: bool) -> None:
    """Say below a picture what it is of, and that nobody was speaking if it was so."""
    words = f"{text}, synthetic audio" if synthetic else text
    figure.supxlabel(words, x=0.99, ha="right", fontsize=9, color=ALARM if synthetic else INK)


@rc_context(STYLE)
def draw_intervals(
    rows: Sequence[tuple[str, float, Interval | None]], chance: float | None = None
) -> Figure:
    """A score (0 to 1) a row, with its interval where there is one, and chance as a line."""
    figure = Figure(figsize=(9.6, 0.8 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, value, interval) in enumerate(rows):
        if interval is not None:
            axes.plot([interval.low, interval.high], [place] * 2, color=SERIES[0], alpha=0.35, lw=6)
        axes.plot(value, place, "o", color=SERIES[0], ms=7, clip_on=False)
        axes.annotate(f"{value:.1%}", (1.02, place), va="center", fontsize=9, annotation_clip=False)
    if chance is not None:
        show_chance(axes, chance)
    axes.set_yticks(range(len(rows)), [shorten(name, 30) for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    show_share(axes)
    return figure


def shorten(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def show_share(axes: Axes) -> None:
    """An axis of shares from 0 to 1, along x."""
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="x", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def show_chance(axes: Axes, chance: float) -> None:
    axes.axvline(chance, color=SERIES[1], ls="--", lw=1.2)
    axes.annotate(
        "chance", (chance, 1), (3, 2), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=8, color=SERIES[1], annotation_clip=False,
    )  # fmt: skip


@rc_context(STYLE)
def draw_strips(
    groups: Mapping[str, Sequence[float]], chance: float, *, seed: int = 0, most: int = 400
) -> Figure:
    """One dot a speaker at its score, one strip a corpus; at most so many dots of a strip."""
    generator = np.random.default_rng(seed)
    figure = Figure(figsize=(9.6, 0.9 + 0.7 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for place, values in enumerate(groups.values()):
        shown = np.asarray(values)
        if len(shown) > most:
            shown = generator.choice(shown, most, replace=False)
        heights = place + generator.uniform(-0.22, 0.22, len(shown)) * (len(shown) > 3)
        colour = SERIES[place % len(SERIES)]
        axes.scatter(shown, heights, s=34, alpha=0.65, color=colour, linewidths=0)
        axes.plot([np.mean(values)] * 2, [place - 0.34, place + 0.34], color=INK, lw=2)
    show_chance(axes, chance)
    axes.set_yticks(range(len(groups)), [f"{name} ({len(v)})" for name, v in groups.items()])
    axes.set_ylim(len(groups) - 0.45, -0.6)
    axes.set_xlabel("UAR of each speaker; the bar is their mean")
    show_share(axes)
    axes.set_xlim(-0.02, 1.02)
    return figure


@rc_context(STYLE)
def draw_reliability(panels: Mapping[str, Reliability]) -> Figure:
    """How often predictions of each confidence are right, and how many there are: one panel each.

    Dots on the diagonal are what they claim to be; below it the network is too sure of itself.
    """
    figure = Figure(figsize=(4.8 * len(panels), 5.0), layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False, sharex=True, height_ratios=(4, 1))
    for column, (name, diagram) in enumerate(panels.items()):
        axes, below = grid[0][column], grid[1][column]
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1.5)
        axes.plot(
            diagram.confidence, diagram.accuracy, "o-", color=SERIES[column], ms=5, clip_on=False
        )
        axes.set_title(f"{name}: ECE {diagram.error:.1%}", fontsize=11)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(lw=0.5)
        below.bar(diagram.confidence, diagram.share, width=0.045, color=SERIES[column])
        below.set_xlabel("confidence")
        for each in (axes, below):
            each.tick_params(length=0)
            each.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            each.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if value else "")
    grid[0][0].set_ylabel("right")
    grid[1][0].set_ylabel("share")
    return figure


@rc_context(STYLE)
def draw_curves(panels: Mapping[str, Mapping[str, Curve]], xlabel: str) -> Figure:
    """Lines by name in one panel each, with names above, once where all have the same."""
    columns = max(1, min(3, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(9.6, 0.4 + 3.0 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for spare in grid.flat[len(panels) :]:
        spare.set_visible(False)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for colour, (name, (along, values)) in zip(cycle(SERIES), curves.items(), strict=False):
            marker = "o" if len(along) < 12 else None
            axes.plot(along, values, color=colour, lw=1.8, marker=marker, ms=4, label=name)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(xlabel)
        axes.grid(lw=0.5)
        axes.tick_params(length=0)
    # Above the curves, so that it covers none of them.
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": "linecolor"}
    shown = list(grid.flat)[: len(panels)]
    if len(panels) > 1 and len({tuple(curves) for curves in panels.values()}) == 1:
        lines, names = shown[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper right", ncols=len(lines), **style)
        return figure
    beside = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    for axes in shown:
        axes.legend(ncols=len(axes.lines), handlelength=1.2, columnspacing=1, **beside, **style)
    return figure


@rc_context(STYLE)
def draw_spectrogram(loudness: np.ndarray, seconds: float) -> Figure:
    """A log-mel picture (bands, frames) in dB over its duration in seconds."""
    figure = Figure(figsize=(3.6, 1.55), layout="constrained")
    axes = figure.subplots()
    axes.imshow(loudness, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, 8))
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=7)
    axes.set_xlabel("seconds", fontsize=7, labelpad=1)
    axes.spines[:].set_visible(False)
    return figure
