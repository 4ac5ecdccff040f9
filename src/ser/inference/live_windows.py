"""Sliding windows over audio that arrives piece by piece, at any rate."""

from collections.abc import Iterator

import numpy as np
import soxr

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.inference.settings import WindowConfig
from ser.inference.windows import Slider, Window


class LiveWindows:
    """Windows of a stream, resampled to 16 kHz; the same ones as of a recording."""

    def __init__(self, sample_rate: int, config: WindowConfig) -> None:
        same = sample_rate == SAMPLE_RATE
        self._resample = None if same else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1)
        self._slider = Slider(config)

    def push(self, samples: Waveform) -> Iterator[Window]:
        """The windows that these samples (time,) complete."""
        if self._resample is not None:
            samples = self._resample.resample_chunk(samples)
        yield from self._slider.push(samples)

    def finish(self) -> Iterator[Window]:
        """The remaining windows; the last one ends with the stream."""
        if self._resample is not None:
            rest = self._resample.resample_chunk(np.zeros(0, np.float32), last=True)
            yield from self._slider.push(rest)
        yield from self._slider.finish()
