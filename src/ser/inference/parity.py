"""Compare the outputs of an exported model with those of its checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser.audio.recording import (
    MIN_SECONDS,
    SAMPLE_RATE,
    AudioError,
    Fault,
    Source,
    Waveform,
    name_source,
)
from ser.errors import UserError
from ser.inference.load import find_checkpoint
from ser.inference.predictor import Predictor
from ser.inference.run_clips import validation_rows
from ser.inference.settings import WindowConfig
from ser.inference.sources import find_all
from ser.inference.windows import Window, not_silent, read_windows
from ser.models.checkpoint import run_folder
from ser.models.inputs import MIN_SAMPLES
from ser.system.progress import track

TOLERANCE = 1e-3  # of logits
# Share of clips with the same top class, required of 8-bit weights. Whisper base keeps that of 98%
# of 180 RAVDESS clips, and fewer clips show a share some percent above or below.
AGREEMENT = 0.95
SECONDS = (0.25, 0.7, 1.0, 1.9, 3.0, 4.4)
BATCHES = (1, 2, 5)
CLIPS = 64

Runner = Callable[[Sequence[Waveform]], NDArray[np.float32]]
"""Maps a batch of 16 kHz waveforms to logits (batch, classes)."""


@dataclass(frozen=True)
class LogitParity:
    """The largest difference of a logit, and the share of clips with the same top class."""

    clips: int
    difference: float
    agreement: float
    kind: str = "clips"

    def __str__(self) -> str:
        return (
            f"on {self.clips} {self.kind} the logits differ by at most {self.difference:.2g},"
            f" and {self.agreement:.1%} have the same top class"
        )


def compare(
    reference: Runner, exported: Runner, clips: Sequence[Waveform], kind: str = "clips"
) -> LogitParity:
    """Run both on the clips, in batches of several sizes; `kind` says what clips they are."""
    batches = list(make_batches(clips))
    pairs = [(reference(each), exported(each)) for each in track(batches, "Comparing outputs")]
    expected = np.concatenate([pair[0] for pair in pairs])
    found = np.concatenate([pair[1] for pair in pairs])
    same = expected.argmax(1) == found.argmax(1)
    difference = float(np.abs(expected - found).max())
    return LogitParity(len(clips), difference, float(same.mean()), kind)


def make_batches(clips: Sequence[Waveform]) -> Iterator[Sequence[Waveform]]:
    start, sizes = 0, cycle(BATCHES)
    while start < len(clips):
        size = next(sizes)
        yield clips[start : start + size]
        start += size


@dataclass(frozen=True)
class Clips:
    """Waveforms to compare on, and what they are: recordings, validation recordings or noise."""

    waveforms: Sequence[Waveform]
    kind: str


def collect_clips(paths: Sequence[str], predictor: Predictor, source: str = "") -> Clips:
    """The first clips of recordings; without paths, those of the run of a model, or else noise.

    `source` names the model. Silent clips and those shorter than MIN_SECONDS are left out. Raises
    UserError if none of the paths has another.
    """
    if paths:
        if clips := read_clips(find_all(paths), predictor):
            return Clips(clips, "recordings")
        raise UserError(f"--clips={' '.join(paths)}: no sound of {MIN_SECONDS} s or more")
    if clips := read_clips(find_validation(source), predictor, skip_damaged=True):
        return Clips(clips, "validation recordings")
    return Clips(synthesise(), "clips of noise")


def find_validation(source: str) -> list[str]:
    """Validation recordings of the run of a model, evenly from all; empty for other models."""
    checkpoint = find_checkpoint(source) if source else None
    rows = [] if checkpoint is None else validation_rows(run_folder(checkpoint))
    chosen = np.linspace(0, len(rows) - 1, min(CLIPS, len(rows))).round().astype(int)
    return [rows[place]["path"] for place in chosen]


def read_clips(
    recordings: Iterable[Source], predictor: Predictor, *, skip_damaged: bool = False
) -> list[Waveform]:
    """The first CLIPS clips of recordings that are neither silent nor short."""
    sliding = WindowConfig(predictor.max_seconds, predictor.max_seconds)
    read = read_intact if skip_damaged else read_named
    pieces = (piece for each in recordings for piece in read(each, sliding))
    long = (p.waveform for p in pieces if len(p.waveform) >= MIN_SAMPLES)
    return list(islice(filter(not_silent, long), CLIPS))


def read_named(source: Source, sliding: WindowConfig) -> Iterator[Window]:
    """The windows of a recording, even of a silent one; raises UserError that names it."""
    try:
        yield from read_windows(source, sliding)
    except ValueError as error:
        if isinstance(error, AudioError) and error.fault == Fault.SILENT:
            return
        name = name_source(source) or "the recording"
        raise UserError(f"{name} cannot be used to compare models: {error}") from error


def read_intact(source: Source, sliding: WindowConfig) -> Iterator[Window]:
    """The windows of a recording up to where it is damaged."""
    with suppress(UserError):
        yield from read_named(source, sliding)


def synthesise(seed: int = 0) -> list[Waveform]:
    """Noise of several lengths and colours with a modulated amplitude."""
    generator, clips = np.random.default_rng(seed), []
    for seconds in islice(cycle(SECONDS), CLIPS):
        white = generator.normal(size=round(seconds * SAMPLE_RATE))
        width = int(generator.integers(1, 40))
        coloured = np.convolve(white, np.ones(width) / width, "same")
        time = np.arange(len(white)) / SAMPLE_RATE
        beat = 1 + np.sin(2 * np.pi * generator.uniform(1, 8) * time)
        clips.append((0.1 * coloured * beat).astype(np.float32))
    return clips


def require_parity(parity: LogitParity, what: str | Path, *, int8: bool = False) -> None:
    """Raise UserError if the outputs of an exported model differ from those of its checkpoint."""
    good = parity.agreement >= AGREEMENT if int8 else parity.difference <= TOLERANCE
    if not good:
        limit = f"{AGREEMENT:.0%} agreement" if int8 else f"a difference of {TOLERANCE:g}"
        advice = "; leave out --int8, or compare on recordings with --clips" if int8 else ""
        raise UserError(f"{what} misses {limit}: {parity}. Nothing was written{advice}.")
