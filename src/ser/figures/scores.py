"""Scores with intervals, scores of speakers, and reliability diagrams."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ser.figures.style import (
    FAINT,
    INK,
    SERIES,
    STYLE,
    WIDTH,
    in_percent,
    name_artist,
    shorten,
    show_chance,
    show_scores,
)

Row = tuple[str, float, tuple[float, float] | None]  # name, score, ends of its interval
MOST_DOTS = 400  # of a strip


@rc_context(STYLE)
def draw_intervals(rows: Sequence[Row], chance: float | None = None, label: str = "UAR") -> Figure:
    """Scores (0 to 1), one row each, with their intervals and chance as a line."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (name, value, ends) in enumerate(rows):
        words = f"{name}: {value:.3f}"
        if ends is not None:
            axes.plot(ends, [place] * 2, color=SERIES[0], alpha=0.35, lw=6)
            words += f", {ends[0]:.3f} to {ends[1]:.3f}"
        dot = axes.plot(value, place, "o", color=SERIES[0], ms=6, clip_on=False)[0]
        name_artist(dot, words)
        axes.annotate(
            f"{value:.3f}", (1.02, place), va="center", fontsize=8.5, annotation_clip=False
        )
    if chance is not None:
        show_chance(axes, chance)
    axes.set_yticks(range(len(rows)), [shorten(name, 26) for name, *_ in rows])
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.7), xlabel=label)
    show_scores(axes)
    axes.spines[:].set_visible(False)
    return figure


@rc_context(STYLE)
def draw_strips(
    groups: Mapping[str, Mapping[str, float]], chance: float | None, *, seed: int = 0
) -> Figure:
    """One dot per speaker at its score (0 to 1), by name, and one strip per corpus.

    A line marks the mean over all speakers. Of more than 400 speakers of a corpus, 400 are drawn.
    """
    generator = np.random.default_rng(seed)
    figure = Figure(figsize=(WIDTH, 1.0 + 0.6 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for place, scores in enumerate(groups.values()):
        names = list(scores)
        if len(names) > MOST_DOTS:
            names = generator.choice(names, MOST_DOTS, replace=False).tolist()
        heights = place + generator.uniform(-0.22, 0.22, len(names)) * (len(names) > 3)
        colour = SERIES[place % len(SERIES)]
        for name, height in zip(names, heights, strict=True):
            dot = axes.plot(scores[name], height, "o", ms=6, alpha=0.65, mew=0, color=colour)[0]
            name_artist(dot, f"{name}: {scores[name]:.3f}")
        axes.plot(
            [np.mean(list(scores.values()))] * 2, [place - 0.34, place + 0.34], color=INK, lw=2
        )
    if chance is not None:
        show_chance(axes, chance)
    labels = [f"{shorten(name, 20)} ({len(scores)})" for name, scores in groups.items()]
    axes.set_yticks(range(len(groups)), labels)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(groups) - 0.45, -0.6))
    axes.set_xlabel("UAR of each speaker; line: mean")
    show_scores(axes)
    axes.spines[:].set_visible(False)
    return figure


@rc_context(STYLE)
def draw_reliability(
    confidence: Sequence[float],
    accuracy: Sequence[float],
    share: Sequence[float],
    title: str,
    *,
    colour: str = SERIES[0],
) -> Figure:
    """Accuracy by confidence above, and the share of predictions of each confidence below.

    On the diagonal, predictions are right as often as their confidence says. Below it, the network
    is overconfident.
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1.5)
    axes.plot(confidence, accuracy, "o-", color=colour, ms=4.5, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    axes.set_title(title)
    below.bar(confidence, share, width=0.045, color=colour)
    below.set(xlabel="confidence", ylabel="predictions")
    for each in (axes, below):
        show_scores(each)
        show_scores(each, along="y")
    below.yaxis.set_major_formatter(in_percent)
    return figure
