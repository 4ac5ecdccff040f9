"""What a model says of a recording: records that need neither torch nor numpy."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise, takewhile
from typing import Any

Probabilities = dict[str, float]


@dataclass(frozen=True)
class Window:
    """A stretch of a recording that was judged alone; `start` and `end` in seconds."""

    start: float
    end: float
    emotion: str
    probabilities: Probabilities


@dataclass(frozen=True)
class Segment:
    """Neighbouring stretches with one emotion; `probability` is its mean over them."""

    start: float
    end: float
    emotion: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The emotion of a recording.

    `path` is the file as it was named, or None for samples from memory. `probabilities` are in
    the order of the labels; over several windows they are the mean. `seconds` is the length of
    the recording. `windows` is the timeline of a recording judged in pieces, else empty.
    """

    path: str | None
    emotion: str
    probabilities: Probabilities
    seconds: float
    windows: tuple[Window, ...] = ()

    @property
    def segments(self) -> list[Segment]:
        """The timeline merged into stretches of one emotion; stretches of silence are left out."""
        return merge(self.windows)

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON; timeline and segments only where there are any."""
        plain = asdict(self)
        plain["seconds"] = round(self.seconds, 3)
        if not plain.pop("windows"):
            return plain
        windows, segments = map(asdict, self.windows), map(asdict, self.segments)
        return plain | {"windows": list(windows), "segments": list(segments)}


@dataclass(frozen=True)
class Failure:
    """A recording that could not be judged, and one sentence that says why."""

    path: str | None
    error: str

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)


def best(probabilities: Probabilities) -> str:
    return max(probabilities, key=probabilities.__getitem__)


def average(several: Sequence[Probabilities]) -> Probabilities:
    return {name: sum(each[name] for each in several) / len(several) for name in several[0]}


def merge(windows: Sequence[Window]) -> list[Segment]:
    """Stretches of one emotion, from windows that may overlap, in order of their start.

    Where windows overlap, the mean of their probabilities decides.
    """
    segments, run = [], []
    for part in flatten(windows):
        if run and (part.start, part.emotion) != (run[-1].end, run[-1].emotion):
            segments.append(join(run))
            run = []
        run.append(part)
    return [*segments, join(run)] if run else segments


def flatten(windows: Sequence[Window]) -> Iterator[Window]:
    """Windows without overlap: for every stretch between two edges the mean of those over it."""
    edges = sorted({edge for window in windows for edge in (window.start, window.end)})
    first = 0
    for start, end in pairwise(edges):
        while windows[first].end <= start:
            first += 1
        begun = takewhile(
            lambda window, start=start: window.start <= start, islice(windows, first, None)
        )
        over = [window.probabilities for window in begun if window.end >= end]
        if over:
            probabilities = average(over)
            yield Window(start, end, best(probabilities), probabilities)


def join(run: Sequence[Window]) -> Segment:
    seconds = [part.end - part.start for part in run]
    emotion = run[0].emotion
    weighted = sum(s * part.probabilities[emotion] for s, part in zip(seconds, run, strict=True))
    return Segment(run[0].start, run[-1].end, emotion, weighted / sum(seconds))
