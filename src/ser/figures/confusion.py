"""Confusion matrices."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ser.figures.style import INK, ON_HEAT, SERIES, STYLE, WIDTH, name_artist, shorten

DARK = 0.8  # share from which light text has more contrast than dark text


@rc_context(STYLE)
def draw_confusion(
    confusion: Sequence[Sequence[int]], names: Sequence[str], *, normalised: bool = True
) -> Figure:
    """A confusion matrix, rows true and columns predicted, with its diagonal outlined.

    Cells show percent of their row, or counts; both are shaded by the share of the row.
    """
    counts = np.array(confusion, float)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
    axes = figure.subplots()
    for row, column in np.ndindex(*shares.shape):
        share, count = float(shares[row, column]), int(counts[row, column])
        percent = "100" if share == 1 else f"{100 * share:.1f}"
        text = percent if normalised else f"{count:,}"
        draw_cell(axes, (row, column), share, text if count else "", len(names))
        title = f"{names[row]} predicted as {names[column]}: {count:,} ({share:.1%})"
        name_artist(axes.patches[-1], title)
    for row in range(len(names)):
        box = Rectangle((row - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, lw=1.2)
        axes.add_patch(box)
    label_axes(axes, names, support[:, 0])
    axes.set_title("Percent of each true class" if normalised else "Utterances")
    return figure


def draw_cell(axes: Axes, place: tuple[int, int], share: float, text: str, classes: int) -> None:
    """One cell as a rectangle whose opacity is the share, so that it suits light and dark pages."""
    row, column = place
    corner, opacity = (column - 0.48, row - 0.48), 0.04 + 0.96 * share
    axes.add_patch(Rectangle(corner, 0.96, 0.96, color=SERIES[0], alpha=opacity, lw=0))
    size = float(np.clip(76 / classes, 4.5, 11))
    colour = ON_HEAT if share > DARK else INK
    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def label_axes(axes: Axes, names: Sequence[str], support: np.ndarray) -> None:
    places, size = range(len(names)), float(np.clip(110 / len(names), 5, 9))
    shown = [shorten(name, 16) for name in names]
    rotation = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(places, shown, fontsize=size, **rotation)
    rows = [f"{name} ({int(total):,})" for name, total in zip(shown, support, strict=True)]
    axes.set_yticks(places, rows, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true (utterances)", aspect="equal")
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
