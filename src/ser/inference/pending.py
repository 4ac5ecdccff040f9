"""Recordings between decoding and their predictions."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from ser.audio.recording import REASONS, ChannelSource, Fault, Source, Waveform, name_source
from ser.inference.prediction import (
    AdaptedTo,
    Failure,
    Prediction,
    WindowPrediction,
    abstains,
    average,
    best,
)
from ser.inference.settings import WindowConfig
from ser.inference.windows import Window, not_silent, read_windows

FILES_AHEAD = 32  # recordings that are opened and decoded while the network works
DECODERS = 4  # threads; soundfile and soxr release the interpreter lock
POOL = 256  # windows that are sorted by length together
NOT_FINITE = "its logits are not finite; check the weights of the model"
SILENT = "it is silent"
NO_SPEECH = "it is silent, or the voice activity detector finds no speech in it"

Row = NDArray[np.floating]
Compute = Callable[[Sequence[Waveform]], NDArray[np.floating]]
"""Maps 16 kHz waveforms (time,) to one row each, such as probabilities or features."""
IsUsed = Callable[[Waveform], bool]


@dataclass
class PendingRecording:
    """A recording whose windows are read, computed and collected.

    `coming` yields its windows, and `expected` counts those that are used. `rows` holds what was
    computed for these, probabilities (classes,) or features (size,), and `times` their starts and
    ends in seconds. `error` says why the recording cannot be used, and `warnings`, complete once
    all windows are read, what is wrong with it otherwise.
    """

    path: str | None
    coming: "Future[Iterator[Window]]"
    channel: int | None = None
    times: list[tuple[float, float]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    expected: int = 0
    read: bool = False
    error: str = ""
    warnings: list[str] = field(default_factory=list)

    def read_windows(self, is_used: IsUsed) -> Iterator[Window]:
        """Yield the windows to compute. If the recording cannot be used, set `error`."""
        try:
            for window in self.coming.result():
                self.seconds = window.end
                if is_used(window.waveform):
                    self.expected += 1
                    yield window
            if self.expected == 0:
                unused = SILENT if is_used is not_silent else NO_SPEECH
                self.error = unused if self.seconds else REASONS[Fault.EMPTY]
        except (ValueError, OSError) as error:
            self.error = str(error)
        self.read = True

    def add(self, window: Window, row: Row) -> None:
        """Add what was computed for a window."""
        if not np.isfinite(row).all():
            self.error = NOT_FINITE
        self.times.append((window.start, window.end))
        self.rows.append(row)

    @property
    def separate_rows(self) -> list[Row]:
        """The rows of windows that do not overlap, so that no sound counts twice."""
        kept: list[Row] = []
        reached = 0.0
        order = sorted(range(len(self.rows)), key=lambda place: self.times[place])
        for place in order:
            start, end = self.times[place]
            if start >= reached - 1e-6:
                kept.append(self.rows[place])
                reached = end
        return kept

    @property
    def complete(self) -> bool:
        return self.read and (bool(self.error) or len(self.rows) == self.expected)

    def result(
        self,
        labels: Sequence[str],
        probabilities: Iterable[Row],
        *,
        threshold: float | None = None,
        adapted_to: AdaptedTo | None = None,
    ) -> Prediction | Failure:
        """The prediction from the probabilities (classes,) of each window, in the order of `times`.

        Without an emotion, if the highest mean probability is below the threshold.
        """
        if self.error:
            return Failure(self.path, self.error, self.channel)
        windows = sorted(
            (
                WindowPrediction.of(*ends, labels, row)
                for ends, row in zip(self.times, probabilities, strict=True)
            ),
            key=lambda window: window.start,
        )
        means = average([window.probabilities for window in windows])
        emotion = best(means)
        abstained = abstains(threshold, means[emotion])
        whole = len(windows) == 1 and windows[0].start == 0 and windows[0].end == self.seconds
        return Prediction(
            path=self.path,
            emotion=None if abstained else emotion,
            probabilities=means,
            seconds=self.seconds,
            windows=() if whole else tuple(windows),
            channel=self.channel,
            abstained=abstained,
            adapted_to=adapted_to,
            warnings=tuple(self.warnings),
        )


def collect(
    recordings: Iterable[PendingRecording], compute: Compute, is_used: IsUsed, batch_size: int
) -> Iterator[PendingRecording]:
    """Yield each recording as soon as all of its windows are computed, in the order given.

    Windows of several recordings are sorted by length together, so that a batch has windows of
    similar length.
    """
    waiting: deque[PendingRecording] = deque()
    pool: list[tuple[PendingRecording, Window]] = []
    room = batch_size  # grows, so that the first results are available soon
    for recording in recordings:
        waiting.append(recording)
        for window in recording.read_windows(is_used):
            pool.append((recording, window))
            if len(pool) >= room:
                room = min(2 * room, max(POOL, batch_size))
                yield from compute_pool(pool, compute, batch_size, waiting)
        if len(waiting) > POOL:  # many unusable recordings after a usable one
            yield from compute_pool(pool, compute, batch_size, waiting)
        yield from take_complete(waiting)
    yield from compute_pool(pool, compute, batch_size, waiting)
    yield from take_complete(waiting)


def compute_pool(
    pool: list[tuple[PendingRecording, Window]],
    compute: Compute,
    batch_size: int,
    waiting: deque[PendingRecording],
) -> Iterator[PendingRecording]:
    """Compute the windows of a pool and empty it; yield complete recordings after each batch."""
    pool.sort(key=lambda entry: len(entry[1].waveform))
    for start in range(0, len(pool), batch_size):
        batch = pool[start : start + batch_size]
        rows = compute([window.waveform for _, window in batch])
        for (recording, window), row in zip(batch, rows, strict=True):
            recording.add(window, row)
        yield from take_complete(waiting)
    pool.clear()


def take_complete(waiting: deque[PendingRecording]) -> Iterator[PendingRecording]:
    """Remove and yield the complete recordings at the front."""
    while waiting and waiting[0].complete:
        yield waiting.popleft()


def open_ahead(sources: Iterable[Source], sliding: WindowConfig) -> Iterator[PendingRecording]:
    """Recordings in order; threads decode the first block of the next ones in advance."""

    def begin(source: Source, warnings: list[str]) -> Iterator[Window]:
        windows = read_windows(source, sliding, warnings=warnings)
        return chain(list(islice(windows, 1)), windows)

    with ThreadPoolExecutor(DECODERS) as threads:
        ahead: deque[PendingRecording] = deque()
        for source in sources:
            channel = source.channel + 1 if isinstance(source, ChannelSource) else None
            warnings: list[str] = []
            coming = threads.submit(begin, source, warnings)
            name = name_source(source)
            ahead.append(PendingRecording(name, coming, channel=channel, warnings=warnings))
            if len(ahead) > FILES_AHEAD:
                yield ahead.popleft()
        yield from ahead
