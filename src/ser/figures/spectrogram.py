"""Log-mel spectrograms."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ser.figures.style import STYLE


@rc_context(STYLE)
def draw_spectrogram(loudness: np.ndarray, seconds: float) -> Figure:
    """A log-mel spectrogram (bands, frames) in dB over its duration in seconds."""
    figure = Figure(figsize=(3.6, 1.55), layout="constrained")
    axes = figure.subplots()
    axes.imshow(loudness, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, 1))
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=7)
    axes.set_xlabel("seconds", fontsize=7, labelpad=1)
    axes.set_ylabel("mel bands", fontsize=7, labelpad=2)
    axes.spines[:].set_visible(False)
    return figure
