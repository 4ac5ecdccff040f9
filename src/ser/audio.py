"""Decode, mix to mono, resample to 16 kHz, and keep the result in an on-disk cache.

Files are read with soundfile and resampled with soxr, the libraries under `librosa.load`, which
itself costs seconds and hundreds of megabytes at its first call (librosa 0.11).
"""

import csv
import hashlib
import os
import uuid
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

SAMPLE_RATE = 16_000
# A batch of clips shorter than this would be shorter than one SpecAugment span of 10 frames.
MIN_SECONDS = 0.25
SILENCE = 1e-3  # of full scale; the quietest RAVDESS recording peaks at six times this
RECIPE = f"2-{SAMPLE_RATE}-mono-soxr_hq-int16"  # a change to the decoding below needs a new number
FILES_PER_SHARD = 1024
COLUMNS = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())

Waveform = NDArray[np.float32]


class Fault(StrEnum):
    """Why the content of a file cannot be used."""

    EMPTY = "empty"
    LFS_POINTER = "lfs_pointer"
    NOT_AUDIO = "not_audio"
    TRUNCATED = "truncated"
    NOT_FINITE = "not_finite"
    SILENT = "silent"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Clip:
    """What decoding found out about one file, and where its 16 kHz samples lie in the cache.

    `size` (bytes) and `mtime_ns` tell whether the file has changed since; `sample_rate` (Hz),
    `channels` and `seconds` are the file's own; `content` is a hash of the decoded mono samples
    at their own rate. `offset` and `length` in the shard are counted in samples; `checksum` is the
    CRC-32 of the samples there, and `peak` what their full range stands for.
    """

    path: str
    size: int
    mtime_ns: int
    fault: str = ""
    detail: str = ""
    format: str = ""
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    content: str = ""
    shard: str = ""
    offset: int = 0
    length: int = 0
    checksum: int = 0


def decode(path: Path) -> tuple[Waveform, int, str, int]:
    """The mono samples (time,) of a file, its sample rate in Hz, its format and channel count.

    The type is told from the content, not from the suffix. Raises soundfile.LibsndfileError where
    the content is no audio.
    """
    with soundfile.SoundFile(path) as file:
        samples = file.read(dtype="float32", always_2d=True)
        return samples.mean(axis=1), file.samplerate, f"{file.format} {file.subtype}", file.channels


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """The waveform (time,) at 16 kHz, by band-limited interpolation (soxr, high quality)."""
    if sample_rate == SAMPLE_RATE:
        return waveform
    return soxr.resample(waveform, sample_rate, SAMPLE_RATE)


def examine(path: Path) -> tuple[Clip, NDArray[np.int16]]:
    """Decode a file and judge it; the samples are 16 kHz, scaled to full range, or none at all."""
    nothing = np.zeros(0, np.int16)
    clip = Clip(*identity(path))
    try:
        if fault := damage(path, clip.size):
            return replace(clip, fault=fault), nothing
        waveform, sample_rate, kind, channels = decode(path)
    except soundfile.LibsndfileError as error:
        return replace(clip, fault=Fault.NOT_AUDIO, detail=error.error_string), nothing
    except OSError as error:
        return replace(clip, fault=Fault.UNREADABLE, detail=str(error)), nothing
    clip = replace(
        clip,
        format=kind,
        sample_rate=sample_rate,
        channels=channels,
        seconds=len(waveform) / sample_rate,
    )
    if fault := flaw(waveform):
        return replace(clip, fault=fault), nothing
    content = hashlib.blake2b(waveform.tobytes(), digest_size=16, salt=b"%d" % sample_rate)
    resampled = resample(waveform, sample_rate)
    if len(resampled) == 0:
        return replace(clip, fault=Fault.EMPTY, detail="less than a sample at 16 kHz"), nothing
    peak = float(np.abs(resampled).max())
    scaled = np.round(resampled / peak * 32767).astype(np.int16)
    clip = replace(
        clip,
        peak=min(peak, 1.0),  # floating-point files can be far over full scale
        content=content.hexdigest(),
        length=len(scaled),
        checksum=zlib.crc32(scaled.tobytes()),
    )
    return clip, scaled


def damage(path: Path, size: int) -> str:
    """The fault that the first bytes of a file give away, or an empty string."""
    if size == 0:
        return Fault.EMPTY
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        return Fault.LFS_POINTER
    # libsndfile reads a cut file without complaint, but the container states its own size.
    order: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"FORM": "big"}
    if head[:4] not in order:
        return ""
    stated = int.from_bytes(head[4:8], order[head[:4]])
    streamed = stated in (0, 0xFFFFFFFF)  # written to a pipe: the length was not known
    return Fault.TRUNCATED if stated + 8 > size and not streamed else ""


def flaw(waveform: Waveform) -> str:
    """The fault that decoded samples (time,) show, or an empty string."""
    if len(waveform) == 0:
        return Fault.EMPTY
    if not np.isfinite(waveform).all():
        return Fault.NOT_FINITE
    return Fault.SILENT if np.abs(waveform).max() < SILENCE else ""


class AudioCache:
    """Decoded audio on disk: immutable shards of int16 samples, each with an index of its clips.

    A shard is written under a temporary name and renamed, its index last, so an interrupted run
    loses at most the shard in progress; a lock keeps two runs from doing the same work. A shard
    whose index cannot be read, or that is shorter than it says, is ignored, and so decoded anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser() / RECIPE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"data.cache_dir={folder} cannot be used: {error}") from error
        self._files: dict[tuple[str, int, int], Clip] = {}
        self._contents: dict[str, Clip] = {}
        self._shards: dict[str, NDArray[np.int16]] = {}
        self._loaded: set[str] = set()
        self._load()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # a loader process maps the shards for itself

    def add(self, paths: Sequence[Path]) -> list[Clip]:
        """What is known of each file, decoding those that are new or have changed."""
        if self._missing(paths):
            with FileLock(self.folder / "lock"):
                self._load()  # what another run added while this one waited
                self._decode(self._missing(paths))
        return [self._files.get(identity(path)) or examine(path)[0] for path in paths]

    def read(self, content: str) -> Waveform:
        """The samples (time,) at 16 kHz of the clip with this content hash, as recorded.

        Raises ValueError where the cache has been damaged.
        """
        clip = self._contents[content]
        if clip.shard not in self._shards:
            file = self.folder / f"{clip.shard}.pcm"
            self._shards[clip.shard] = np.memmap(file, dtype=np.int16, mode="r")
        samples = self._shards[clip.shard][clip.offset : clip.offset + clip.length]
        if zlib.crc32(samples.tobytes()) != clip.checksum:
            raise ValueError(
                f"{self.folder / clip.shard}.pcm is damaged: delete it, and run this again"
            )
        return samples.astype(np.float32) * np.float32(clip.peak / 32767)

    def _missing(self, paths: Sequence[Path]) -> list[Path]:
        return [path for path in paths if identity(path) not in self._files]

    def _decode(self, paths: list[Path]) -> None:
        # Threads suffice: soundfile, soxr and hashlib release the interpreter lock.
        with Progress(*COLUMNS) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
            task = progress.add_task("Decoding audio", total=len(paths))
            for start in range(0, len(paths), FILES_PER_SHARD):
                examined = []
                for result in pool.map(examine, paths[start : start + FILES_PER_SHARD]):
                    examined.append(result)
                    progress.advance(task)
                self._write(examined)

    def _write(self, examined: list[tuple[Clip, NDArray[np.int16]]]) -> None:
        shard, offset, clips = uuid.uuid4().hex, 0, []
        for clip, samples in examined:
            clips.append(replace(clip, shard=shard, offset=offset))
            offset += len(samples)
        temporary = self.folder / f"{shard}.tmp"
        with temporary.open("wb") as file:
            for _, samples in examined:
                file.write(samples.tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / f"{shard}.pcm")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(asdict(clips[0])))
            writer.writeheader()
            writer.writerows(asdict(clip) for clip in clips if clip.fault != Fault.UNREADABLE)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / f"{shard}.csv")
        self._load()

    def _load(self) -> None:
        for index in sorted(self.folder.glob("*.csv")):
            if index.stem in self._loaded:
                continue
            try:
                with index.open(newline="", encoding="utf-8") as file:
                    clips = [read_clip(row) for row in csv.DictReader(file)]
            except (ValueError, KeyError, TypeError):  # not as it was written
                continue
            samples = index.with_suffix(".pcm")
            length = max((clip.offset + clip.length for clip in clips), default=0)
            if samples.is_file() and samples.stat().st_size >= 2 * length:
                self._loaded.add(index.stem)
                self._files |= {(clip.path, clip.size, clip.mtime_ns): clip for clip in clips}
                self._contents |= {clip.content: clip for clip in clips if clip.content}


def identity(path: Path) -> tuple[str, int, int]:
    """What tells one state of a file from another without reading it."""
    try:
        stat = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), stat.st_size, stat.st_mtime_ns


def read_clip(row: dict[str, str]) -> Clip:
    kinds = {name: type(value) for name, value in asdict(Clip("", 0, 0)).items()}
    return Clip(**{name: kinds[name](value) for name, value in row.items()})
