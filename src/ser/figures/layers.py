"""Scores of probes over the layers of a network."""

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from ser.figures.curves import HEIGHT, finish
from ser.figures.style import SERIES, STYLE, WIDTH, fit_range, name_artist, show_chance

Ends = tuple[float, float] | None  # of an interval
OFFSET = 0.14  # between the points of two parts at one layer


@rc_context(STYLE)
def draw_layers(
    names: Sequence[str],
    parts: Mapping[str, Sequence[tuple[float, Ends]]],
    *,
    best: int,
    chance: float,
) -> Figure:
    """UAR (0 to 1) of the probe of each layer with its interval, one curve per part.

    `best` is the place of the chosen layer. Names that are no numbers, such as those of several
    layers together, are not connected with the others.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    axes.axvline(best, color=SERIES[0], alpha=0.12, lw=18)
    single = [place for place, name in enumerate(names) if name.isdigit()]
    ends = [chance]
    for order, (part, scores) in enumerate(parts.items()):
        shift, colour = OFFSET * (order - (len(parts) - 1) / 2), SERIES[order % len(SERIES)]
        along = [scores[place][0] for place in single]
        axes.plot([place + shift for place in single], along, color=colour, lw=1.4, label=part)
        for place, (value, interval) in enumerate(scores):
            words = f"{part}, layer {names[place]}: {value:.3f}"
            if interval is not None:
                axes.plot([place + shift] * 2, interval, color=colour, alpha=0.35, lw=4)
                words += f", {interval[0]:.3f} to {interval[1]:.3f}"
            dot = axes.plot(place + shift, value, "o", color=colour, ms=4.5)[0]
            name_artist(dot, words)
            ends += [value, *(interval or ())]
    show_chance(axes, chance, along="y")
    axes.set_ylim(*fit_range(ends))
    axes.set_xticks(range(len(names)), names)
    finish(axes, "UAR of linear probes", "layer (0: input of the first)", scores=True)
    return figure
