"""Learning curves, robustness curves and risk-coverage curves."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ser.figures.style import (
    INK,
    SERIES,
    STYLE,
    WIDTH,
    fit_range,
    in_percent,
    show_chance,
    show_scores,
)

Curve = tuple[Sequence[float], Sequence[float]]  # x, y
SMOOTHED_FROM = 30  # points; fewer are shown as they are, with dots
HEIGHT = 3.2


@rc_context(STYLE)
def draw_history(
    curves: Mapping[str, Curve],
    title: str,
    *,
    best: tuple[float, str] | None = None,
    scores: bool = False,
) -> Figure:
    """Learning curves by optimiser step: raw values pale, smoothed ones over them.

    `best` marks a step with a label; `scores` is for scores between 0 and 1.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    for (name, (steps, values)), colour in zip(curves.items(), cycle(SERIES), strict=False):
        if len(values) < SMOOTHED_FROM:
            axes.plot(steps, values, "o-", color=colour, lw=1.6, ms=3, label=name)
        else:
            axes.plot(steps, values, color=colour, lw=0.8, alpha=0.3)
            axes.plot(steps, smooth(values), color=colour, lw=1.8, label=f"{name}, smoothed")
    if best is not None:
        axes.axvline(best[0], color=INK, ls=":", lw=1.2, label=best[1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(axes, title, "optimiser steps", scores=scores)
    return figure


def smooth(values: Sequence[float]) -> np.ndarray:
    """An exponential moving average over a twentieth of the values, without bias at the start."""
    decay, total, weight, smoothed = 1 - 1 / max(3.0, len(values) / 20), 0.0, 0.0, []
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        smoothed.append(total / weight)
    return np.array(smoothed)


@rc_context(STYLE)
def draw_levels(
    levels: Sequence[str],
    curves: Mapping[str, Sequence[float]],
    title: str,
    *,
    chance: float,
    limits: tuple[float, float],
) -> Figure:
    """Scores at the levels of a perturbation, from none to the strongest, with chance as a line."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(curves.items(), cycle(SERIES), strict=False):
        axes.plot(range(len(levels)), values, "o-", color=colour, lw=1.8, ms=4, label=name)
    show_chance(axes, chance, along="y")
    axes.set_ylim(*fit_range(limits))
    axes.set_xticks(range(len(levels)), levels)
    finish(axes, title, "", scores=True)
    return figure


@rc_context(STYLE)
def draw_risk_coverage(
    coverage: Sequence[float], risk: Sequence[float], title: str = "Risk and coverage"
) -> Figure:
    """The error rate among the most confident predictions, by their share."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    axes.plot(coverage, risk, color=SERIES[0], lw=1.8)
    axes.plot(coverage[-1], risk[-1], "o", color=SERIES[0], ms=5)
    axes.set(xlim=(0, 1.02), ylim=(0, max(0.05, max(risk) * 1.1)), ylabel="errors among them")
    finish(axes, title, "share of the most confident predictions", scores=True)
    axes.xaxis.set_major_formatter(in_percent)
    return figure


def finish(axes: Axes, title: str, xlabel: str, *, scores: bool) -> None:
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    if scores:
        show_scores(axes, along="y")
    else:
        axes.grid(lw=0.5)
        axes.tick_params(length=0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", labelcolor="linecolor", handlelength=1.4)
