"""Types, constants and errors shared by everything that handles audio."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from ser.errors import UserError

SAMPLE_RATE = 16_000  # Hz
MIN_SECONDS = 0.25  # a shorter batch would be shorter than a SpecAugment span of 10 frames
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000  # Hz; speech needs more, and no recorder writes more
# Peak-to-peak range of full scale 1 (-80 dB) below which a recording is silent: three steps of
# 16 bits, which is more than dithered digital silence has. Speech at -70 dB is kept.
SILENCE = 1e-4
MAX_CHANNELS = 64  # more are a damaged header
BLOCK = 2**19  # samples of all channels in a block of a stream: 2 MiB as floats
BLOCK_SECONDS = 30  # in a block; more would become many samples at 16 kHz
LOUDEST = 2.0**32  # times full scale; the squares of larger samples overflow

Waveform = NDArray[np.float32]
Pcm = NDArray[np.int16]
Block = NDArray[Any]
"""Samples (time, channels) as a decoder delivers them, int16 or float32."""
Mono = NDArray[Any]
"""Samples (time,) of one channel, int16 or float32."""
NOTHING: Pcm = np.zeros(0, np.int16)

Samples = NDArray[np.floating] | NDArray[np.integer]


@dataclass(frozen=True)
class ChannelSource:
    """One channel of a file, counted from 0, instead of the mix of all its channels."""

    file: str | Path | BinaryIO
    channel: int


Source = str | Path | BinaryIO | ChannelSource | tuple[Samples, int]
"""A file, an open binary file, one channel of either, or samples (time,) or (time, channels) with
their rate in Hz."""


def name_source(source: Source) -> str | None:
    """The path of a source, or the name of a recording inside a table; None for other files."""
    if isinstance(source, ChannelSource):
        return name_source(source.file)
    if isinstance(source, str | Path):
        return str(source)
    return getattr(source, "label", None)


class Waveforms(Protocol):
    """Waveforms (time,) at 16 kHz by row, read when they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Waveform: ...


class Fault(StrEnum):
    """Why the content of a file cannot be used."""

    EMPTY = "empty"
    LFS_POINTER = "lfs_pointer"
    NOT_AUDIO = "not_audio"
    UNSUPPORTED = "unsupported"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    SEVERAL = "several"
    NOT_FINITE = "not_finite"
    LOW_RATE = "low_rate"
    HIGH_RATE = "high_rate"
    SILENT = "silent"
    CLIPPED = "clipped"
    UNREADABLE = "unreadable"
    OUT_OF_RANGE = "out_of_range"


CONVERT = "convert it, for example with `ffmpeg -i INPUT output.wav`"
REASONS = {
    Fault.EMPTY: "it holds no sound",
    Fault.LFS_POINTER: "it is a Git LFS pointer; fetch the audio with `git lfs pull`",
    Fault.NOT_AUDIO: f"it is not a recording of a known format; if it is audio, {CONVERT}",
    Fault.UNSUPPORTED: f"its audio cannot be decoded; {CONVERT}",
    Fault.TRUNCATED: "it is shorter than its header says; copy or download it again",
    Fault.DAMAGED: "its audio data is damaged; copy or download it again",
    Fault.SEVERAL: "it holds several recordings, one after another; save each in its own file",
    Fault.NOT_FINITE: "it holds samples that are not finite, or far beyond any scale",
    Fault.LOW_RATE: f"its sample rate is below {LOWEST_RATE:,} Hz, which carries no speech",
    Fault.HIGH_RATE: f"its sample rate is above {HIGHEST_RATE:,} Hz; {CONVERT}",
    Fault.SILENT: "it is silent",
    Fault.CLIPPED: "it is clipped",
    Fault.UNREADABLE: "it cannot be read",
    Fault.OUT_OF_RANGE: "the requested part lies outside the recording",
}


class AudioError(UserError):
    """A recording that cannot be used; `fault` says why, `detail` adds what is known about it."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{REASONS[fault]} ({detail})" if detail else REASONS[fault])
        self.fault, self.detail = fault, detail


def rate_change(first: int, later: int) -> AudioError:
    return AudioError(Fault.UNSUPPORTED, f"its sample rate changes from {first} to {later} Hz")


class UnsupportedError(Exception):
    """A decoder cannot read a file, but another one may; the message says why."""


class DecodingCancelledError(Exception):
    """Decoding stopped because the caller asked for it; not an error of the recording."""


@dataclass(frozen=True)
class Recording:
    """Mono samples (time,) at the file's own `sample_rate` in Hz.

    `samples` are int16 if the file stores 16-bit integers and they need no mixing, else floats.
    `format` names container and codec, `channels` counts those of the file. `note` says how a
    fault of the recording was repaired.
    """

    samples: Pcm | Waveform
    sample_rate: int
    format: str
    channels: int
    note: str = ""

    @property
    def waveform(self) -> Waveform:
        """The samples (time,) as floats of full scale 1."""
        return scale(self.samples, 1 / self.full_scale)

    @property
    def full_scale(self) -> int:
        return 32768 if self.samples.dtype == np.int16 else 1

    @property
    def content(self) -> str:
        """A hash of samples and rate, the same in every lossless 16-bit container."""
        digest = xxhash.xxh3_128(np.ascontiguousarray(self.samples).data)
        digest.update(f"{self.sample_rate} {self.samples.dtype}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Clip:
    """What decoding found in a file, or in its part from `start` to `end` seconds.

    `end` is 0 for the whole file. `size` (bytes) and `mtime_ns` identify the state of the file;
    `sample_rate` (Hz), `channels` and `seconds` are those of the file; `clipped` is the share of
    samples at the limit. `offset` and `length` in the shard of the cache count samples;
    `checksum` is that of the samples there, and `peak` the value of their full range. `note` says
    how the recording was repaired, `decoder` which version of the decoder read it.
    """

    path: str
    start: float = 0.0
    end: float = 0.0
    size: int = -1
    mtime_ns: int = -1
    fault: str = ""
    detail: str = ""
    format: str = ""
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    clipped: float = 0.0
    peak: float = 0.0
    content: str = ""
    shard: str = ""
    offset: int = 0
    length: int = 0
    checksum: str = ""
    note: str = ""
    decoder: int = 0


def block_length(channels: int, sample_rate: int) -> int:
    """The most samples of each channel in a block."""
    return min(max(1, BLOCK // channels), BLOCK_SECONDS * sample_rate)


def scale(samples: Pcm | Waveform, factor: float) -> Waveform:
    """The samples (time,) times a factor, as floats."""
    waveform = samples.astype(np.float32)
    waveform *= np.float32(factor)
    return waveform
