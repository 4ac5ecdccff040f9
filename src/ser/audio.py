"""Decode audio files, judge what is in them, mix to mono, resample to 16 kHz.

Files are read with soundfile and resampled with soxr, the libraries under `librosa.load`, which
itself costs seconds and hundreds of megabytes at its first call (librosa 0.11).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr
import xxhash
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
MIN_SECONDS = 0.25  # a shorter batch would be shorter than a SpecAugment span of 10 frames
LOWEST_RATE = 1000  # Hz; at less there is no speech, and resampling makes hours of seconds
SILENCE = 1e-3  # of full scale; the quietest RAVDESS recording peaks at six times this
CLIPPED = 0.1  # share of samples that stay at the limit
FEW_SAMPLES = 100  # of which a tenth says nothing
HEAD = 64  # bytes

Waveform = NDArray[np.float32]
Pcm = NDArray[np.int16]
NOTHING: Pcm = np.zeros(0, np.int16)


class Fault(StrEnum):
    """Why the content of a file cannot be used."""

    EMPTY = "empty"
    LFS_POINTER = "lfs_pointer"
    NOT_AUDIO = "not_audio"
    TRUNCATED = "truncated"
    NOT_FINITE = "not_finite"
    LOW_RATE = "low_rate"
    SILENT = "silent"
    CLIPPED = "clipped"
    UNREADABLE = "unreadable"
    OUT_OF_RANGE = "out_of_range"


class AudioError(ValueError):
    """A file whose content cannot be used; `fault` says why."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(detail or fault.value)
        self.fault, self.detail = fault, detail


@dataclass(frozen=True)
class Recording:
    """Mono samples (time,) at the file's own `sample_rate` in Hz, and what kind of file it was.

    The samples are as they stand in the file: whole numbers in 16-bit files, else floats.
    """

    samples: Pcm | Waveform
    sample_rate: int
    format: str
    channels: int

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
    """What decoding found out about one file, or the part of it from `start` to `end` seconds.

    `end` is 0 for the whole file. `size` (bytes) and `mtime_ns` tell whether the file has changed
    since; `sample_rate` (Hz), `channels` and `seconds` are its own; `clipped` is the share of
    samples at the limit. `offset` and `length` in the shard of the cache are counted in samples;
    `checksum` is that of the samples there, and `peak` what their full range stands for.
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


def decode(path: Path, start: float = 0.0, end: float = 0.0) -> Recording:
    """The recording in a file, or its part from `start` to `end` seconds (0: to the end).

    The type is told from the content, not from the suffix. Raises soundfile.LibsndfileError where
    the content is no audio, and AudioError where samples are missing.
    """
    with soundfile.SoundFile(path) as file:
        return decode_part(file, start, end)


def decode_part(file: soundfile.SoundFile, start: float, end: float) -> Recording:
    """As `decode`, of a file that is open."""
    if file.samplerate < LOWEST_RATE:
        raise AudioError(Fault.LOW_RATE, f"{file.samplerate} Hz")
    first = round(start * file.samplerate)
    count = (round(end * file.samplerate) if end else file.frames) - first
    if not 0 <= first <= first + count <= file.frames:
        whole = f"the file lasts {file.frames / file.samplerate:.2f} s"
        raise AudioError(Fault.OUT_OF_RANGE, f"{start} s to {end} s, but {whole}")
    # Reading 16-bit files as they are takes a quarter of the time of reading them as floats.
    exact = file.subtype == "PCM_16"
    samples = read_samples(file, first, count, "int16" if exact else "float32")
    # Two equal channels are one: five RAVDESS files are stereo so.
    equal = samples.shape[1] > 1 and bool((samples == samples[:, :1]).all())
    one = equal or samples.shape[1] == 1
    mono = samples[:, 0] if one else samples.mean(axis=1, dtype=np.float32)
    if exact and not one:
        mono *= np.float32(1 / 32768)
    return Recording(mono, file.samplerate, f"{file.format} {file.subtype}", samples.shape[1])


def read_samples(file: soundfile.SoundFile, first: int, count: int, dtype: Any) -> Any:
    """The samples (time, channels) of an open file; raises AudioError where some are missing."""
    try:
        if file.tell() != first:
            file.seek(first)
        samples = file.read(count, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:  # it could be opened, so it is what it says
        raise AudioError(Fault.TRUNCATED, error.error_string) from error
    if len(samples) < count:
        raise AudioError(Fault.TRUNCATED, f"{len(samples):,} of {count:,} samples")
    return samples


def scale(samples: Pcm | Waveform, factor: float) -> Waveform:
    """The samples (time,) times a factor, as floats."""
    waveform = samples.astype(np.float32)
    waveform *= np.float32(factor)
    return waveform


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """The waveform (time,) at 16 kHz, by band-limited interpolation (soxr, high quality)."""
    if sample_rate == SAMPLE_RATE:
        return waveform
    return soxr.resample(waveform, sample_rate, SAMPLE_RATE)


def examine(path: Path, start: float = 0.0, end: float = 0.0) -> tuple[Clip, Pcm]:
    """Decode a file and judge it; the samples are 16 kHz, scaled to full range, or none at all."""
    return next(examine_parts(path, [(start, end)]))


def examine_parts(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[Clip, Pcm]]:
    """As `examine`, for parts of one file (from and to in seconds), which is opened once."""
    state = identify(path)
    clips = [Clip(str(path), start, end, *state) for start, end in spans]
    try:
        file = open_checked(path, state[0])
    except AudioError as error:
        for clip in clips:
            yield replace(clip, fault=error.fault.value, detail=error.detail), NOTHING
    else:
        with file:
            for clip in clips:
                yield examine_part(file, clip)


def open_checked(path: Path, size: int) -> soundfile.SoundFile:
    """A file of so many bytes, open for reading; raises AudioError where it is no audio."""
    if path.exists() and not path.is_file():  # a pipe would make us wait for ever
        raise AudioError(Fault.UNREADABLE, "it is no file, but a folder, a pipe or a device")
    try:
        with path.open("rb") as head:
            check_container(head.read(HEAD), size)
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(Fault.NOT_AUDIO, error.error_string) from error
    except OSError as error:
        raise AudioError(Fault.UNREADABLE, str(error)) from error


def examine_part(file: soundfile.SoundFile, clip: Clip) -> tuple[Clip, Pcm]:
    try:
        recording = decode_part(file, clip.start, clip.end)
    except AudioError as error:
        return replace(clip, fault=error.fault.value, detail=error.detail), NOTHING
    facts: dict[str, Any] = {
        "format": recording.format,
        "sample_rate": recording.sample_rate,
        "channels": recording.channels,
        "seconds": len(recording.samples) / recording.sample_rate,
    }
    try:
        facts["clipped"] = check_samples(recording)
        samples, facts["peak"] = quantise(recording)
    except AudioError as error:
        return replace(clip, **facts, fault=error.fault.value, detail=error.detail), NOTHING
    stored = {"length": len(samples), "checksum": sum_up(samples)}
    return replace(clip, **facts, **stored, content=recording.content), samples


def sum_up(samples: Pcm) -> str:
    """A checksum that finds damage on the disk; xxHash takes a quarter of the time of CRC-32."""
    return xxhash.xxh3_64_hexdigest(samples.data)


def quantise(recording: Recording) -> tuple[Pcm, float]:
    """The recording at 16 kHz in 16 bits, and what their full range stands for.

    Samples that are so already stay as they are; others are scaled to use the whole range, so
    that a quiet recording keeps its resolution.
    """
    if recording.sample_rate == SAMPLE_RATE and recording.samples.dtype == np.int16:
        return recording.samples.astype(np.int16), 32767 / 32768
    resampled = resample(recording.waveform, recording.sample_rate)
    if len(resampled) == 0:
        raise AudioError(Fault.EMPTY, "less than a sample at 16 kHz")
    peak = float(max(-resampled.min(), resampled.max()))
    scaled = np.rint(resampled * np.float32(32767 / peak)).astype(np.int16)
    return scaled, min(peak, 1.0)  # floating-point files can be far over full scale


def identify(path: Path) -> tuple[int, int]:
    """Size and time of change: what tells one state of a file from another without reading it."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def check_container(head: bytes, size: int) -> None:
    """Raise AudioError for a fault that the first HEAD bytes of a file of that size give away."""
    if size == 0:
        raise AudioError(Fault.EMPTY)
    if head.startswith(b"version https://git-lfs"):
        raise AudioError(Fault.LFS_POINTER)
    # libsndfile reads a cut file without complaint, but the container states its own size.
    order: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"FORM": "big"}
    if head[:4] in order:
        stated = int.from_bytes(head[4:8], order[head[:4]])
        if stated + 8 > size and stated not in (0, 0xFFFFFFFF):  # as written to a pipe
            raise AudioError(Fault.TRUNCATED, f"{size:,} of {stated + 8:,} bytes")


def check_samples(recording: Recording) -> float:
    """The share of samples at the limit; raises AudioError where they are no speech."""
    samples, silence = recording.samples, SILENCE * recording.full_scale
    if len(samples) == 0:
        raise AudioError(Fault.EMPTY)
    lowest, highest = float(samples.min()), float(samples.max())
    if not np.isfinite(lowest + highest):
        raise AudioError(Fault.NOT_FINITE)
    if highest - lowest < silence:  # an offset is no sound
        raise AudioError(Fault.SILENT)
    limit = 0.999 * max(-lowest, highest)
    if samples.dtype == np.int16:  # comparing whole numbers takes a third of the time
        limit = math.ceil(limit)
    at_limit = np.count_nonzero(samples >= limit) + np.count_nonzero(samples <= -limit)
    clipped = float(at_limit / len(samples))
    if clipped > CLIPPED and len(samples) > FEW_SAMPLES and stays_at(limit, samples) > CLIPPED:
        raise AudioError(Fault.CLIPPED, f"{clipped:.0%} of the samples are at the limit")
    return clipped


def stays_at(limit: float, samples: Pcm | Waveform) -> float:
    """The share of samples that are at the limit like both neighbours: no tone stays there."""
    at_limit = (samples >= limit) | (samples <= -limit)
    return float(np.mean(at_limit[1:-1] & at_limit[:-2] & at_limit[2:]))


def load(path: Path) -> Waveform:
    """The samples (time,) of a file, mono at 16 kHz; raises as `decode` does."""
    recording = decode(path)
    return resample(recording.waveform, recording.sample_rate)
