"""A recording of any format, rate, channel count and length, as 16 kHz mono windows.

What is short is decoded as it is for training; what is long is read in blocks, so an hour costs
no more memory than a minute.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser.audio import (
    HEAD,
    LOWEST_RATE,
    MIN_SECONDS,
    SAMPLE_RATE,
    SILENCE,
    AudioError,
    Fault,
    Waveform,
    check_container,
    resample,
)
from ser.files import printable
from ser.setting import require

BLOCK_SECONDS = 30
BLOCK_SAMPLES = 2**24  # of all channels: what a header claims must not decide over the memory
LOUDEST = 2.0**32  # times full scale; squares of much more are no numbers
REASONS = {
    Fault.EMPTY: "it holds no sound",
    Fault.LFS_POINTER: "it is a Git LFS pointer; fetch the audio with `git lfs pull`",
    Fault.TRUNCATED: "it is shorter than its header says; copy or download it again",
    Fault.NOT_FINITE: "it holds samples that are no numbers, or far beyond any scale",
    Fault.LOW_RATE: f"its sample rate is below {LOWEST_RATE:,} Hz, at which there is no speech",
}

Samples = NDArray[np.floating] | NDArray[np.integer]
Source = str | Path | BinaryIO | tuple[Samples, int]
"""A file, an open binary file, or samples (time,) or (time, channels) with their rate in Hz."""


@dataclass(frozen=True)
class Sliding:
    """Windows of `window` seconds that start every `hop` seconds."""

    window: float = 3.0
    hop: float = 1.0

    def __post_init__(self) -> None:
        within = MIN_SECONDS <= self.window <= 3600
        require(within, "window", self.window, f"from {MIN_SECONDS} s to an hour")
        require(0.01 <= self.hop <= self.window, "hop", self.hop, "from 0.01 s to the window")


@dataclass(frozen=True)
class Piece:
    """A window of a recording: its start in seconds, and its samples (time,) at 16 kHz."""

    start: float
    waveform: Waveform

    @property
    def end(self) -> float:
        return self.start + len(self.waveform) / SAMPLE_RATE


def name(source: Source) -> str | None:
    return str(source) if isinstance(source, str | Path) else None


def read_pieces(source: Source, sliding: Sliding) -> Iterator[Piece]:
    """The windows of a recording in order, the silent ones too.

    A recording no longer than the window is one piece, whole; else the last piece ends where the
    recording does. Raises ValueError, without the path, for what cannot be used.
    """
    return cut_blocks(read_blocks(source), sliding)


def cut_blocks(blocks: Iterable[Waveform], sliding: Sliding) -> Iterator[Piece]:
    """As `read_pieces`, of consecutive stretches (time,) of a recording at 16 kHz."""
    window, hop = round(sliding.window * SAMPLE_RATE), round(sliding.hop * SAMPLE_RATE)
    return slide(blocks, window, hop)


def read_blocks(source: Source) -> Iterator[Waveform]:
    """Consecutive stretches (time,) of a recording at 16 kHz, together all of it."""
    if isinstance(source, tuple):
        return resample_blocks(iter([as_mono(source[0])]), source[1])
    return decode_blocks(source)


def decode_blocks(source: str | Path | BinaryIO) -> Iterator[Waveform]:
    check_source(source)
    if isinstance(source, str | Path) and printable(str(source)) != str(source):
        with Path(source).open("rb") as file:  # libsndfile takes names in UTF-8 only
            yield from decode_blocks(file)
        return
    try:
        file = soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"it is no audio that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF and others):"
            f" {error.error_string.strip().rstrip('.')}; convert it first"
        ) from error
    with file:
        yield from resample_blocks(mix_blocks(file), file.samplerate)


def check_source(source: str | Path | BinaryIO) -> None:
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            entered = os.access(path, os.R_OK | os.X_OK)
            kind = "without audio files" if entered else "that may not be read"
            raise ValueError(f"it is a folder {kind}")
        if not path.is_file():
            raise ValueError("no such file")
        with path.open("rb") as file:
            check_head(file)
    elif source.seekable():
        check_head(source)


def check_head(file: BinaryIO) -> None:
    """Raise ValueError for what the first bytes give away, and leave the file at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    try:
        check_container(head, size)
    except AudioError as error:
        raise ValueError(REASONS[error.fault]) from error


def mix_blocks(file: soundfile.SoundFile) -> Iterator[Waveform]:
    """The mono samples of an open file, block by block, at its own rate."""
    frames = 0
    size = max(1, min(BLOCK_SECONDS * file.samplerate, BLOCK_SAMPLES // file.channels))
    try:
        for block in file.blocks(size, dtype="float32", always_2d=True):
            frames += len(block)
            yield block.mean(axis=1)
    except soundfile.LibsndfileError as error:  # it could be opened, so it is what it says
        raise ValueError(REASONS[Fault.TRUNCATED]) from error
    if frames < file.frames:
        raise ValueError(REASONS[Fault.TRUNCATED])


def resample_blocks(blocks: Iterator[Waveform], rate: int) -> Iterator[Waveform]:
    """Blocks at 16 kHz; a single one is resampled exactly as for training."""
    if rate < LOWEST_RATE:
        raise ValueError(REASONS[Fault.LOW_RATE])
    held = next(blocks, None)
    if held is None or len(held) == 0:
        raise ValueError(REASONS[Fault.EMPTY])
    following = next(blocks, None)
    if following is None or rate == SAMPLE_RATE:
        yield checked(resample(held, rate))
        while following is not None:
            yield checked(following)
            following = next(blocks, None)
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1)
    while held is not None:
        yield checked(stream.resample_chunk(held, last=following is None))
        held, following = following, next(blocks, None)


def checked(waveform: Waveform) -> Waveform:
    if not np.isfinite(waveform).all() or np.abs(waveform).max(initial=0) > LOUDEST:
        raise ValueError(REASONS[Fault.NOT_FINITE])
    return waveform


def as_mono(samples: Samples) -> Waveform:
    """Floating-point samples (time,) of integer or floating-point ones, one or more channels."""
    waveform: NDArray[Any] = np.asarray(samples)
    if np.issubdtype(waveform.dtype, np.unsignedinteger):
        raise ValueError(f"samples of type {waveform.dtype}: give floating-point or signed ones")
    if np.issubdtype(waveform.dtype, np.integer):
        waveform = waveform / -float(np.iinfo(waveform.dtype).min)
    if waveform.ndim not in (1, 2):
        raise ValueError(f"samples of shape {waveform.shape}: give (time,) or (time, channels)")
    if waveform.ndim == 2:
        waveform = waveform.mean(axis=1)
    return waveform.astype(np.float32)


def slide(blocks: Iterable[Waveform], window: int, hop: int) -> Iterator[Piece]:
    """Windows of `window` samples every `hop` samples, over blocks of any length.

    The last one starts where it ends with the recording, so that all are whole, and all is heard.
    """
    held, offset, start = np.zeros(0, np.float32), 0, 0  # `held` begins at sample `offset`
    for block in blocks:
        held = np.concatenate([held, block])
        while start + window <= offset + len(held):
            yield cut(held, start - offset, window, start)
            start += hop
        drop = max(0, start - hop) - offset  # the last window begins after the one before
        held, offset = held[drop:], offset + drop
    total = offset + len(held)
    heard = start - hop + window if start else 0
    if total > heard:
        start = max(0, total - window)
        yield cut(held, start - offset, window, start)


def cut(held: Waveform, place: int, window: int, start: int) -> Piece:
    """A copy, so that the block it comes from can be freed."""
    return Piece(start / SAMPLE_RATE, held[place : place + window].copy())


def not_silent(waveform: Waveform) -> bool:
    """Whether there is any sound; an offset is none, as in `ser.audio.check_samples`."""
    return len(waveform) > 0 and float(np.ptp(waveform)) >= SILENCE
