"""Predictions of a model: records that need neither torch nor numpy."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise, takewhile
from typing import Any

Probabilities = dict[str, float]
STDIN = "(standard input)"


@dataclass(frozen=True)
class WindowPrediction:
    """The prediction for one window of a recording; `start` and `end` in seconds."""

    start: float
    end: float
    emotion: str
    probabilities: Probabilities

    @classmethod
    def of(
        cls, start: float, end: float, labels: Sequence[str], row: Iterable[float]
    ) -> "WindowPrediction":
        """The prediction from the probabilities (classes,) of a window."""
        probabilities = dict(zip(labels, map(float, row), strict=True))
        return cls(start, end, best(probabilities), probabilities)


@dataclass(frozen=True)
class Segment:
    """Consecutive intervals with one emotion; `probability` is its mean over them."""

    start: float
    end: float
    emotion: str
    probability: float


@dataclass(frozen=True)
class AdaptedTo:
    """The speaker that a prediction is adapted to ("" for the only one), by how many clips."""

    speaker: str
    clips: int


@dataclass(frozen=True)
class Prediction:
    """The emotion of a recording.

    `path` is the file as it was named, or None for samples from memory. `probabilities` are in
    the order of the labels; over several windows they are the mean. `seconds` is the length of
    the recording. `windows` is the timeline of a recording that was cut into windows, else empty.
    `channel`, counted from 1, is set if the channels of a file were predicted separately.
    `abstained`: the highest probability is below the threshold of the model, and `emotion` is None.
    `warnings` say what is wrong with the recording, or how it was repaired.
    """

    path: str | None
    emotion: str | None
    probabilities: Probabilities
    seconds: float
    windows: tuple[WindowPrediction, ...] = ()
    channel: int | None = None
    abstained: bool = False
    adapted_to: AdaptedTo | None = None
    warnings: tuple[str, ...] = ()

    @property
    def segments(self) -> list[Segment]:
        """The timeline merged into intervals of one emotion, without intervals of silence."""
        return merge(self.windows)

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON, without fields that say nothing, such as no warnings."""
        plain = without_channel(asdict(self))
        plain["seconds"] = round(self.seconds, 3)
        if not plain["abstained"]:
            del plain["abstained"]
        if self.adapted_to is None:
            del plain["adapted_to"]
        if not self.warnings:
            del plain["warnings"]
        if not plain.pop("windows"):
            return plain
        windows, segments = map(asdict, self.windows), map(asdict, self.segments)
        return plain | {"windows": list(windows), "segments": list(segments)}


@dataclass(frozen=True)
class Failure:
    """A recording for which there is no prediction, and the reason."""

    path: str | None
    error: str
    channel: int | None = None

    def as_plain(self) -> dict[str, Any]:
        return without_channel(asdict(self))


def without_channel(plain: dict[str, Any]) -> dict[str, Any]:
    """The values without a channel that is not set."""
    return {k: v for k, v in plain.items() if k != "channel" or v is not None}


def best(probabilities: Probabilities) -> str:
    return max(probabilities, key=probabilities.__getitem__)


def abstains(threshold: float | None, confidence: float) -> bool:
    """Whether the highest probability of a recording is below the threshold of the model."""
    return threshold is not None and confidence < threshold


def average(several: Sequence[Probabilities]) -> Probabilities:
    return {name: sum(each[name] for each in several) / len(several) for name in several[0]}


def merge(windows: Sequence[WindowPrediction]) -> list[Segment]:
    """Intervals of one emotion, from windows that may overlap, in order of their start.

    Where windows overlap, the mean of their probabilities decides.
    """
    segments, run = [], []
    for part in flatten(windows):
        if run and (part.start, part.emotion) != (run[-1].end, run[-1].emotion):
            segments.append(join(run))
            run = []
        run.append(part)
    return [*segments, join(run)] if run else segments


def flatten(windows: Sequence[WindowPrediction]) -> Iterator[WindowPrediction]:
    """Windows without overlap: the mean of the windows over each interval between two edges."""
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
            yield WindowPrediction(start, end, best(probabilities), probabilities)


def join(run: Sequence[WindowPrediction]) -> Segment:
    seconds = [part.end - part.start for part in run]
    emotion = run[0].emotion
    weighted = sum(s * part.probabilities[emotion] for s, part in zip(seconds, run, strict=True))
    return Segment(run[0].start, run[-1].end, emotion, weighted / sum(seconds))


def most_probable(probabilities: Probabilities, top_k: int | None) -> Probabilities:
    """The `top_k` most probable emotions, in descending order; None: all, in label order."""
    shown = {label: round(value, 6) for label, value in probabilities.items()}
    if top_k is None:
        return shown
    return dict(sorted(shown.items(), key=lambda item: -item[1])[:top_k])


def describe_source(result: Prediction | Failure) -> str:
    """The path of a result, and its channel if there is one."""
    path = result.path or STDIN
    return path if result.channel is None else f"{path} channel {result.channel}"
