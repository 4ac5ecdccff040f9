"""Pictures: the confusion matrix, and how the emotions are distributed."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

# A page replaces the first three by its own, light or dark; COAL stays dark, on light colours.
INK, FAINT, PAPER = "#24292f", "#d0d7de", "#fffffe"
COAL, ALARM = "#1b1f24", "#b42318"
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
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*shares.shape):
        if counts[row, column]:
            value = shares[row, column]
            text = f"{value:.0%}" if normalised else f"{counts[row, column]:.0f}"
            colour = "white" if value > 0.55 else COAL
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
    axes.grid(which="minor", color=PAPER, linewidth=1.5)
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
    figure = Figure(figsize=(max(7, 2.3 * len(order)), 3.6), layout="constrained")
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
def mark(figure: Figure, text: str, *, synthetic: bool) -> None:
    """Say below a picture what it is of, and that nobody was speaking if it was so."""
    words = f"{text}, synthetic audio" if synthetic else text
    figure.supxlabel(words, x=0.99, ha="right", fontsize=9, color=ALARM if synthetic else INK)
