"""Colours, sizes and axes of all figures.

A figure has one panel, as wide as a phone. Wide pages show several figures in a row.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 5.0  # inches: 360 points, the width of a phone in CSS pixels

# Pages replace these colours, SERIES and PARTS by their own for light and dark.
INK, FAINT, ALARM, ON_HEAT = "#24292f", "#d0d7de", "#b42318", "#fefefe"
# Okabe and Ito (2008): distinguishable with every kind of colour vision. For corpora and curves.
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
# For train, val and test: shades of one colour, which no corpus has.
PARTS = ("#5b6b7f", "#9fb0c3", "#1f2c3d")

STYLE: Any = {  # matplotlib types its keys one by one
    **{f"{key}.color": INK for key in ("text", "xtick", "ytick")},
    **{"axes.labelcolor": INK, "axes.edgecolor": FAINT, "axes.titlelocation": "left"},
    **{"axes.spines.top": False, "axes.spines.right": False, "grid.color": FAINT},
    **{"axes.titlesize": 10, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5},
    **{"legend.frameon": False, "legend.fontsize": 8.5, "font.size": 9},
    # Names of classes, corpora and speakers may hold dollar signs, which are not formulas.
    "text.parse_math": False,
}
TITLE = "title:"  # begins the gid of an artist whose text pages show on hover


def name_artist(artist: Artist, text: str) -> None:
    """Give an artist a text that an SVG shows when the pointer is over it."""
    artist.set_gid(TITLE + text)


@rc_context(STYLE)
def mark(figure: Figure, text: str, *, synthetic: bool) -> None:
    """Say below a figure what data it shows, and whether they are synthetic."""
    words = ", ".join(filter(None, (text, "synthetic audio" if synthetic else "")))
    figure.supxlabel(words, x=0.99, ha="right", fontsize=8, color=ALARM if synthetic else INK)


def shorten(name: str, most: int) -> str:
    """The name, cut in its middle: long names often begin alike."""
    if len(name) <= most:
        return name
    start = (most - 1) // 2
    return f"{name[:start]}…{name[start + 1 - most :]}"


def in_percent(value: float, _: float) -> str:
    """A tick of an axis of shares of the data."""
    return f"{value:.0%}"


def show_scores(axes: Axes, along: str = "x") -> None:
    """Label an axis of scores between 0 and 1, and draw its grid."""
    axis = axes.xaxis if along == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{round(value, 3):g}")
    axes.grid(axis="x" if along == "x" else "y", lw=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def fit_range(values: Sequence[float], margin: float = 0.08) -> tuple[float, float]:
    """The ends of an axis that shows shares: the range of the values, within 0 and 1."""
    low, high = min(values), max(values)
    room = max(high - low, 0.1) * margin
    return max(0.0, low - room), min(1.0, high + room)


def show_chance(axes: Axes, chance: float, along: str = "x") -> None:
    """Draw and label the line of chance; `along` is the axis of the scores."""
    style: Any = {"fontsize": 8, "color": INK, "annotation_clip": False}
    if along == "x":
        axes.axvline(chance, color=INK, ls="--", lw=1)
        place = {"xy": (chance, 1), "xytext": (3, 2), "xycoords": ("data", "axes fraction")}
    else:
        axes.axhline(chance, color=INK, ls="--", lw=1)
        place = {"xy": (1, chance), "xytext": (-2, 2), "xycoords": ("axes fraction", "data")}
        style["ha"] = "right"
    axes.annotate("chance", **place, textcoords="offset points", **style)
