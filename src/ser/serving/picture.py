"""The log-mel picture of the demo, for recordings of any length."""

import io
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib import image
from numpy.typing import NDArray

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.audio.spectrogram import BANDS, LOUDNESS_RANGE, SILENT, mel_power

COLUMNS = 1200  # of a picture at most
CHUNK = 10 * SAMPLE_RATE  # samples that are transformed at once
REFERENCE = SILENT * 10 ** (LOUDNESS_RANGE / 10)  # the least that is drawn bright

Power = NDArray[np.floating]


def draw_log_mel(blocks: Iterable[Waveform]) -> bytes:
    """A PNG of the loudness (bands upwards, time) of consecutive blocks (time,) at 16 kHz.

    Memory does not grow with the length: columns are averaged in pairs once there are too many.
    """
    power, width = np.zeros((BANDS, 0)), 1
    for chunk in cut(blocks):
        power = np.concatenate([power, pool(mel_power(chunk), width)], axis=1)
        while power.shape[1] > COLUMNS:
            power, width = pool(power, 2), 2 * width
    loudness = 10 * np.log10(np.maximum(power, SILENT) / max(power.max(), REFERENCE))
    buffer = io.BytesIO()
    image.imsave(
        buffer, loudness, origin="lower", cmap="magma", vmin=-LOUDNESS_RANGE, vmax=0, format="png"
    )
    return buffer.getvalue()


def cut(blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """The blocks in chunks of one size; the last one may be shorter."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= CHUNK:
            yield held[:CHUNK]
            held = held[CHUNK:]
    if len(held):
        yield held


def pool(power: Power, width: int) -> Power:
    """Means (bands, columns) of `width` columns each; the last column is repeated as needed."""
    padded = np.pad(power, ((0, 0), (0, -power.shape[1] % width)), mode="edge")
    return padded.reshape(len(power), -1, width).mean(axis=2)
