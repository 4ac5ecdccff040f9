"""Recordings of any format, rate, channel count and length as 16 kHz mono windows.

They are decoded in blocks, so an hour takes no more memory than a minute.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ser.audio.recording import SAMPLE_RATE, SILENCE, Source, Waveform
from ser.audio.stream import read_blocks
from ser.inference.settings import WindowConfig


@dataclass(frozen=True)
class Window:
    """A window of a recording: its samples (time,) at 16 kHz, and the number of the first one."""

    first: int
    waveform: Waveform

    @property
    def start(self) -> float:
        """In seconds."""
        return self.first / SAMPLE_RATE

    @property
    def end(self) -> float:
        """In seconds; exactly the start of a window that follows without a gap."""
        return (self.first + len(self.waveform)) / SAMPLE_RATE


def read_windows(
    source: Source,
    sliding: WindowConfig,
    *,
    cancelled: Callable[[], bool] | None = None,
    max_seconds: float | None = None,
    warnings: list[str] | None = None,
) -> Iterator[Window]:
    """The windows of a recording in order, including silent ones.

    A recording no longer than the window is one window; otherwise the last window ends where the
    recording ends. Arguments and exceptions are those of `ser.audio.stream.read_blocks`.
    """
    blocks = read_blocks(source, cancelled=cancelled, max_seconds=max_seconds, warnings=warnings)
    return cut_blocks(blocks, sliding)


def cut_blocks(blocks: Iterable[Waveform], sliding: WindowConfig) -> Iterator[Window]:
    """The windows of consecutive blocks (time,) at 16 kHz; see `read_windows`."""
    slider = Slider(sliding)
    for block in blocks:
        yield from slider.push(block)
    yield from slider.finish()


class Slider:
    """Windows over audio at 16 kHz that arrives in blocks of any length.

    It holds no more than one window and the block pushed last.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.window, self.hop = round(config.window * SAMPLE_RATE), round(config.hop * SAMPLE_RATE)
        self._parts: list[Waveform] = []  # from sample `_offset` to sample `_total`
        self._offset = self._total = self._start = 0

    def push(self, block: Waveform) -> Iterator[Window]:
        """The windows that this block (time,) completes."""
        self._parts.append(block)
        self._total += len(block)
        if self._total < self._start + self.window:
            return
        held = np.concatenate(self._parts)
        while self._total >= self._start + self.window:
            yield self._cut(held, self._start)
            self._start += self.hop
        drop = max(0, self._start - self.hop) - self._offset  # the last window may begin there
        self._parts, self._offset = [held[drop:].copy()], self._offset + drop

    def finish(self) -> Iterator[Window]:
        """The last window, which ends with the audio, unless all samples are in windows."""
        covered = self._start - self.hop + self.window if self._start else 0
        if self._total > covered:
            yield self._cut(np.concatenate(self._parts), max(0, self._total - self.window))

    def _cut(self, held: Waveform, start: int) -> Window:
        """A copy, so that what it comes from can be freed."""
        place = start - self._offset
        return Window(start, held[place : place + self.window].copy())


def not_silent(waveform: Waveform) -> bool:
    """Whether a waveform (time,) has sound, as for training; a constant offset is silence."""
    return len(waveform) > 0 and float(np.ptp(waveform)) >= SILENCE
