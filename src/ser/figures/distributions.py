"""Distributions of classes and durations."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ser.figures.style import FAINT, INK, SERIES, STYLE, WIDTH, in_percent, name_artist, shorten

BINS = 30
LONG = 0.995  # quantile beyond which durations share one bar


@rc_context(STYLE)
def draw_distribution(
    counts: Mapping[str, Sequence[int]],
    emotions: Sequence[str],
    colours: Sequence[str] = SERIES,
) -> Figure:
    """Utterances of each emotion, stacked by group (parts or corpora) on one scale.

    `counts` are those of the emotions, by group.
    """
    figure = Figure(figsize=(WIDTH, 1.1 + 0.28 * len(emotions)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(emotions))
    for place, (name, values) in enumerate(counts.items()):
        colour = colours[place % len(colours)]
        label = f"{shorten(name, 16)} ({sum(values):,})"
        bars = axes.barh(range(len(emotions)), values, left=left, color=colour, label=label)
        for bar, emotion, value in zip(bars, emotions, values, strict=True):
            name_artist(bar, f"{name}, {emotion}: {value:,}")
        left += values
    for place, total in enumerate(left):
        style = {"va": "center", "fontsize": 8, "textcoords": "offset points"}
        axes.annotate(f"{total:,.0f}", (total, place), (4, 0), **style)
    axes.set_yticks(range(len(emotions)), [shorten(name, 16) for name in emotions])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("utterances")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", lw=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines["left"].set_color(FAINT)
    figure.legend(loc="outside upper left", ncols=3, handlelength=1, columnspacing=1.2)
    return figure


@rc_context(STYLE)
def draw_durations(
    seconds: Sequence[float] | np.ndarray, title: str, *, colour: str, limits: tuple[float, float]
) -> Figure:
    """The share of utterances of each duration; `limits` are the greatest duration and share.

    Figures with the same limits can be compared. Longer utterances are one hatched bar at the
    end, with their number.
    """
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, limits[0], BINS + 1)
    shares = np.histogram(seconds, edges)[0] / max(len(seconds), 1)
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], shares, width * 0.94, align="edge", color=colour)
    longer = np.asarray(seconds)[np.asarray(seconds) > limits[0]]
    if len(longer):
        draw_longer(axes, (edges[-1] + width, width), longer, len(seconds))
    axes.set(xlim=(0, edges[-1] + (3 * width if len(longer) else 0)), ylim=(0, limits[1] * 1.08))
    axes.set(xlabel="seconds", ylabel="utterances")
    axes.set_title(f"{shorten(title, 40)} ({len(seconds):,})")
    axes.yaxis.set_major_formatter(in_percent)
    axes.grid(axis="y", lw=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure


def draw_longer(
    axes: Axes, place: tuple[float, float], longer: np.ndarray, utterances: int
) -> None:
    """A bar for all utterances beyond the axis, labelled with their number and the longest one."""
    start, width = place
    share = len(longer) / utterances
    axes.bar(start, share, width, align="edge", color=FAINT, hatch="////", edgecolor=INK, lw=0.5)
    text = f"{len(longer):,} longer,\nup to {longer.max():,.1f} s"
    style = {"ha": "right", "va": "bottom", "fontsize": 8}
    axes.annotate(text, (start + width, share), (0, 3), textcoords="offset points", **style)


def choose_limits(groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """The greatest duration, without the few longest, and the greatest share of a bin."""
    durations = np.concatenate([np.asarray(group, float) for group in groups])
    longest, common = float(durations.max()), float(np.quantile(durations, LONG))
    end = longest if longest <= 1.5 * common else common
    end = max(float(np.ceil(end)), 1.0)
    edges = np.linspace(0, end, BINS + 1)
    shares = [np.histogram(group, edges)[0].max() / max(len(group), 1) for group in groups]
    return end, float(max(shares))
