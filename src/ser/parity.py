"""Whether an exported model says what its checkpoint says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser.audio import MIN_SECONDS, SAMPLE_RATE, Waveform
from ser.batch import MIN_SAMPLES
from ser.predict import Predictor
from ser.sources import find_all
from ser.windows import Piece, Sliding, Source, name, not_silent, read_pieces

TOLERANCE = 1e-3  # of logits
AGREEMENT = 0.98  # share of clips of one top class that is asked of whole-number weights
SECONDS = (0.25, 0.7, 1.0, 1.9, 3.0, 4.4)
BATCHES = (1, 2, 5)
CLIPS = 64

Judge = Callable[[Sequence[Waveform]], NDArray[np.float32]]
"""From 16 kHz waveforms, one batch, to logits (batch, classes)."""


@dataclass(frozen=True)
class Parity:
    """The largest difference of a logit, and the share of clips with the same top class."""

    clips: int
    difference: float
    agreement: float

    def __str__(self) -> str:
        return (
            f"on {self.clips} clips the logits differ by at most {self.difference:.2g},"
            f" and {self.agreement:.1%} have the same top class"
        )


def compare(reference: Judge, exported: Judge, clips: Sequence[Waveform]) -> Parity:
    """Judge clips by both, in batches of several sizes."""
    pairs = [(reference(batch), exported(batch)) for batch in make_batches(clips)]
    expected = np.concatenate([pair[0] for pair in pairs])
    found = np.concatenate([pair[1] for pair in pairs])
    same = expected.argmax(1) == found.argmax(1)
    return Parity(len(clips), float(np.abs(expected - found).max()), float(same.mean()))


def make_batches(clips: Sequence[Waveform]) -> Iterator[Sequence[Waveform]]:
    start, sizes = 0, cycle(BATCHES)
    while start < len(clips):
        size = next(sizes)
        yield clips[start : start + size]
        start += size


def collect_clips(paths: Sequence[str], predictor: Predictor) -> list[Waveform]:
    """The first clips of recordings, or synthetic ones where no paths are given.

    Those shorter than MIN_SECONDS are left out. Raises ValueError where none is left.
    """
    if not paths:
        return synthesise()
    sliding = Sliding(predictor.max_seconds, predictor.max_seconds)
    pieces = (piece for path in find_all(paths) for piece in read_named(path, sliding))
    long = (p.waveform for p in pieces if len(p.waveform) >= MIN_SAMPLES)
    if clips := list(islice(filter(not_silent, long), CLIPS)):
        return clips
    raise ValueError(f"--clips={' '.join(paths)}: nothing is heard for {MIN_SECONDS} s or more")


def read_named(source: Source, sliding: Sliding) -> Iterator[Piece]:
    """The windows of a recording; raises ValueError that names it."""
    try:
        yield from read_pieces(source, sliding)
    except ValueError as error:
        raise ValueError(f"--clips: {name(source) or 'standard input'}: {error}") from error


def synthesise(seed: int = 0) -> list[Waveform]:
    """Noise of several lengths and colours, with a beat: no speech, but nothing regular either."""
    generator, clips = np.random.default_rng(seed), []
    for seconds in islice(cycle(SECONDS), CLIPS):
        white = generator.normal(size=round(seconds * SAMPLE_RATE))
        width = int(generator.integers(1, 40))
        coloured = np.convolve(white, np.ones(width) / width, "same")
        time = np.arange(len(white)) / SAMPLE_RATE
        beat = 1 + np.sin(2 * np.pi * generator.uniform(1, 8) * time)
        clips.append((0.1 * coloured * beat).astype(np.float32))
    return clips


def require_parity(parity: Parity, what: str | Path, *, whole_numbers: bool = False) -> None:
    """Raise ValueError where an exported model does not say what its checkpoint says."""
    good = parity.agreement >= AGREEMENT if whole_numbers else parity.difference <= TOLERANCE
    if not good:
        limit = f"{AGREEMENT:.0%} agreement" if whole_numbers else f"{TOLERANCE:g}"
        raise ValueError(f"{what} misses {limit}: {parity}; nothing was kept")
