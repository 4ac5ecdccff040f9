"""Resampling to 16 kHz."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from ser.audio.recording import SAMPLE_RATE, Waveform


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """The waveform (time,) at 16 kHz, by band-limited interpolation (soxr, high quality)."""
    if sample_rate == SAMPLE_RATE:
        return waveform
    return soxr.resample(waveform, sample_rate, SAMPLE_RATE)


def change_speed(waveform: Waveform, speed: float) -> Waveform:
    """The waveform (time,) played at another speed, which changes tempo and pitch alike."""
    if speed == 1:
        return waveform
    return soxr.resample(waveform, SAMPLE_RATE * speed, SAMPLE_RATE)


def resample_blocks(blocks: Iterable[Waveform], sample_rate: int) -> Iterator[Waveform]:
    """Consecutive blocks (time,) at 16 kHz; together they are what `resample` makes of all."""
    if sample_rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1)
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
