"""Decode files for the audio cache and check what is in them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from ser.audio.decode import OpenRecording
from ser.audio.levels import Levels
from ser.audio.recording import (
    NOTHING,
    SAMPLE_RATE,
    SILENCE,
    AudioError,
    Clip,
    Fault,
    Pcm,
    Recording,
)
from ser.audio.resample import resample
from ser.system.files import identify

DECODER = 4  # a change to what is decoded from some files needs a new number


def examine(path: Path, start: float = 0.0, end: float = 0.0) -> tuple[Clip, Pcm]:
    """What decoding finds in a file, and its samples (time,) at 16 kHz; none if it has a fault.

    The samples use the full range of 16 bits, which stands for `Clip.peak`.
    """
    return next(examine_parts(path, [(start, end)]))


def examine_parts(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[Clip, Pcm]]:
    """`examine` for parts of one file (start and end in seconds), which is opened once."""
    state = identify(path)
    clips = [Clip(str(path), start, end, *state, decoder=DECODER) for start, end in spans]
    with ExitStack() as stack:
        try:
            recording = open_recording(path, stack)
        except AudioError as error:
            for clip in clips:
                yield with_fault(clip, error)
        else:
            for clip in clips:
                yield examine_part(recording, clip)


def open_recording(path: Path, stack: ExitStack) -> OpenRecording:
    """The recording in a file; raises AudioError if it cannot be opened or is not a recording."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise AudioError(Fault.UNREADABLE, "it is a folder, a pipe or a device, not a file")
    try:
        file = stack.enter_context(path.open("rb", buffering=0))
        return stack.enter_context(OpenRecording(file))
    except OSError as error:
        raise AudioError(Fault.UNREADABLE, str(error)) from error


def examine_part(recording: OpenRecording, clip: Clip) -> tuple[Clip, Pcm]:
    """The clip with what decoding its part finds, and the samples as `examine` returns them."""
    try:
        part = recording.read(clip.start, clip.end)
        clip = replace(
            clip,
            format=part.format,
            sample_rate=part.sample_rate,
            channels=part.channels,
            seconds=len(part.samples) / part.sample_rate,
            note=part.note,
        )
        clipped = check_samples(part)
        samples, peak = quantise(part)
    except AudioError as error:
        return with_fault(clip, error)
    except OSError as error:
        return with_fault(clip, AudioError(Fault.UNREADABLE, str(error)))
    stored: dict[str, Any] = {"length": len(samples), "checksum": checksum(samples.data)}
    return replace(clip, clipped=clipped, peak=peak, content=part.content, **stored), samples


def with_fault(clip: Clip, error: AudioError) -> tuple[Clip, Pcm]:
    return replace(clip, fault=error.fault.value, detail=error.detail), NOTHING


def checksum(content: bytes | memoryview) -> str:
    """A checksum that finds damage on the disk; xxHash takes a quarter of the time of CRC-32."""
    return xxhash.xxh3_64_hexdigest(content)


def quantise(recording: Recording) -> tuple[Pcm, float]:
    """The samples (time,) of a recording at 16 kHz in 16 bits, and the value of their full range.

    Samples that are stored so already stay as they are; others are scaled to use the whole range,
    so that a quiet recording keeps its resolution. Raises AudioError if nothing audible is left.
    """
    if recording.sample_rate == SAMPLE_RATE and recording.samples.dtype == np.int16:
        return np.ascontiguousarray(recording.samples, np.int16), 32767 / 32768
    resampled = resample(recording.waveform, recording.sample_rate)
    if len(resampled) == 0:
        raise AudioError(Fault.EMPTY, "less than a sample at 16 kHz")
    lowest, highest = float(resampled.min()), float(resampled.max())
    if highest - lowest < SILENCE:
        raise AudioError(Fault.SILENT, "below 8 kHz")
    peak = max(-lowest, highest)
    return np.rint(resampled * np.float32(32767 / peak)).astype(np.int16), peak


def check_samples(recording: Recording) -> float:
    """The share of samples at the limit; raises AudioError if they cannot be speech."""
    levels = Levels()
    levels.add(recording.samples)
    levels.check()
    if (clipping := levels.find_clipping()) is not None:
        raise clipping
    return levels.clipped
