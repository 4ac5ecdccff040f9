"""Recordings of any length as blocks of 16 kHz mono samples, in little memory."""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ser.audio.decode import Cancelled, OpenRecording, as_floats
from ser.audio.levels import Levels
from ser.audio.mixing import Mixer, as_mono
from ser.audio.recording import (
    BLOCK,
    HIGHEST_RATE,
    LOUDEST,
    LOWEST_RATE,
    SAMPLE_RATE,
    AudioError,
    ChannelSource,
    DecodingCancelledError,
    Fault,
    Mono,
    Samples,
    Source,
    Waveform,
)
from ser.audio.resample import resample_blocks
from ser.errors import UserError, amount

log = logging.getLogger(__name__)
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # such as https://; drives have one letter


def read_blocks(
    source: Source,
    *,
    cancelled: Cancelled = None,
    max_seconds: float | None = None,
    warnings: list[str] | None = None,
) -> Iterator[Waveform]:
    """Consecutive blocks (time,) of a recording at 16 kHz, together all of it.

    They are the samples of `ser.audio.decode.load`, without the quantisation of the cache. A block
    holds at most BLOCK samples of all channels and 30 s. An open decoder takes up to 32 MiB,
    whatever the length, rate and channels of the recording and whatever its header claims.

    What is wrong with a recording that can be used is logged after the last block, and added to
    `warnings`. Raises UserError if it cannot be used or lasts longer than `max_seconds`, and
    DecodingCancelledError soon after `cancelled` returns True. An open file is not closed.
    """
    samples, levels, found = 0, Levels(), list[str]()
    for block in resampled(source, cancelled, levels, found):
        samples += len(block)
        if max_seconds is not None and samples > max_seconds * SAMPLE_RATE:
            raise UserError(f"it is longer than {max_seconds:g} s; cut it")
        if not np.isfinite(block).all() or np.abs(block).max(initial=0) > LOUDEST:
            raise AudioError(Fault.NOT_FINITE)
        if len(block):
            yield block
    if not samples:
        raise AudioError(Fault.EMPTY)
    levels.check()
    if (clipping := levels.find_clipping()) is not None:
        found.append(str(clipping))
    for warning in found:
        log.warning("%s: %s", describe(source), warning)
    if warnings is not None:
        warnings += found


def describe(source: Source) -> str:
    """The name of a recording in messages."""
    source = source.file if isinstance(source, ChannelSource) else source
    return str(source if isinstance(source, str | Path) else getattr(source, "label", "audio"))


def resampled(
    source: Source, cancelled: Cancelled, levels: Levels, warnings: list[str]
) -> Iterator[Waveform]:
    """The blocks (time,) of a recording at 16 kHz, as they are, and what is found before that."""

    def measured(blocks: Iterator[Mono]) -> Iterator[Waveform]:
        for block in blocks:
            levels.add(block)
            yield as_floats(block)

    if isinstance(source, tuple):
        mix = Mixer()
        yield from resample_blocks(measured(cut_samples(*source, mix, cancelled)), source[1])
        warnings += [mix.note] if mix.note else []
        return
    opened, channel = (
        (source.file, source.channel) if isinstance(source, ChannelSource) else (source, None)
    )
    with open_file(opened) as file, OpenRecording(file, cancelled, channel) as recording:
        if channel is not None and channel >= recording.channels:
            raise UserError(
                f"it has {amount(recording.channels, 'channel')}, none with number {channel + 1}"
            )
        yield from resample_blocks(measured(recording.blocks()), recording.sample_rate)
        if recording.note:
            warnings.append(recording.note)


def cut_samples(
    samples: Samples, sample_rate: int, mix: Mixer, cancelled: Cancelled
) -> Iterator[Waveform]:
    """Blocks (time,) of samples (time,) or (time, channels) at their own rate."""
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        low = sample_rate < LOWEST_RATE
        raise AudioError(Fault.LOW_RATE if low else Fault.HIGH_RATE, f"{sample_rate} Hz")
    mono = as_mono(samples, mix)
    for start in range(0, len(mono), BLOCK):
        if cancelled is not None and cancelled():
            raise DecodingCancelledError
        yield mono[start : start + BLOCK]


def count_channels(source: str | Path | BinaryIO) -> int:
    """The number of channels of a recording.

    An open file is rewound afterwards. Raises UserError if the recording cannot be read.
    """
    with open_file(source) as file, OpenRecording(file) as recording:
        channels = recording.channels
    if not isinstance(source, str | Path):
        source.seek(0)
    return channels


@contextmanager
def open_file(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A seekable file; closed afterwards unless the caller gave it open."""
    if isinstance(source, str | Path):
        check_path(Path(source))
        with Path(source).open("rb", buffering=0) as file:
            yield file
    elif source.seekable():
        yield source
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            shutil.copyfileobj(source, file)
            yield file


def check_path(path: Path) -> None:
    if path.is_dir():
        entered = os.access(path, os.R_OK | os.X_OK)
        raise UserError(f"it is a folder {'without recordings' if entered else 'without access'}")
    if not path.exists():
        address = ADDRESS.match(str(path))
        raise UserError("it is an address: download it first" if address else "no such file")
    if not path.is_file():  # opening a pipe would wait for its writer
        raise UserError("it is a pipe or a device, not a file")
