"""Decode with libsndfile: WAV, AIFF, FLAC, OGG, MP3 and their relatives."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import soundfile

from ser.audio.damage import join_notes
from ser.audio.recording import (
    MAX_CHANNELS,
    AudioError,
    Block,
    Fault,
    UnsupportedError,
    block_length,
    rate_change,
)
from ser.audio.sniff import Container
from ser.audio.splice import Part, SplicedFile
from ser.system.stderr import silence_c_libraries

KINDS = frozenset(
    {
        Container.WAV,
        Container.RF64,
        Container.W64,
        Container.AIFF,
        Container.AU,
        Container.CAF,
        Container.NIST,
        Container.VOC,
    }
    | {Container.FLAC, Container.OGG, Container.MPEG}
)
MAX_FRAMES = 2**62  # libsndfile states more if it does not know
MAX_LOST = 2**12  # samples that MP3 decoders leave out at the beginning of a stream
UNCOMPRESSED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # with FLAC, positions are exact


class _Sequential(soundfile.SoundFile):
    """A file that is read from beginning to end.

    Otherwise soundfile seeks after every read, which makes lossy decoders start afresh: samples
    would depend on the size of the blocks, and a FLAC file of unknown length could not be read.
    """

    def seekable(self) -> bool:
        return False

    def skip(self, frames: int) -> None:
        soundfile.SoundFile.seek(self, frames, os.SEEK_CUR)


class SndfileDecoder:
    """Samples of the parts of a file, one part after another.

    `whole` is the descriptor of the same file, if it needs no splicing. Raises UnsupportedError if
    libsndfile cannot decode the file, AudioError if it holds less than it promises.
    """

    def __init__(
        self, kind: Container, base: SplicedFile, parts: Sequence[Part], whole: int | None = None
    ) -> None:
        self._kind, self._base, self._parts, self._whole = kind, base, list(parts), whole
        self._open_next()
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        if self.channels > MAX_CHANNELS:
            self.close()
            raise AudioError(Fault.UNSUPPORTED, f"{self.channels:,} channels")
        self.format = f"{self._file.format} {self._subtype}"
        self.note = join_notes(part.note for part in parts)

    def read(self) -> Block:
        """The next samples (time, channels), int16 or float32; none at the end."""
        while True:
            block = self._read_part()
            if len(block) or not self._parts:
                return block
            self._file.close()
            try:
                self._open_next()
            except UnsupportedError as error:
                raise AudioError(Fault.DAMAGED, str(error)) from error
            if self._file.samplerate != self.sample_rate:
                raise rate_change(self.sample_rate, self._file.samplerate)

    def skip(self, frames: int) -> int:
        """Pass over at most this many samples, if positions are exact; returns how many."""
        exact = self._kind == Container.FLAC or self._subtype.startswith(UNCOMPRESSED)
        if self._parts or not exact or not self._promised:
            return 0
        frames = min(frames, self._promised - self._done)
        self._file.skip(frames)
        self._done += frames
        return frames

    def close(self) -> None:
        self._file.close()

    def _open_next(self) -> None:
        """Open the next part."""
        self._part, self._done = self._parts.pop(0), 0
        self._file = self._open_segments(self._part.segments)
        if self._file.frames < self._part.least:
            self._file.close()
            if not self._part.counted:
                raise UnsupportedError("libsndfile cannot tell its length")
            self._file = self._open_segments(self._part.counted)
        self._subtype = self._file.subtype
        self._mpeg = self._subtype.startswith("MPEG")
        # Reading 16-bit files as integers takes a quarter of the time of reading them as floats.
        self._dtype: Any = "int16" if self._subtype == "PCM_16" else "float32"
        # The samples that a reliable header states, or 0.
        estimated = self._mpeg or self._kind == Container.OGG or self._file.frames > MAX_FRAMES
        self._promised = 0 if estimated else self._file.frames

    def _open_segments(self, segments: Sequence[Any]) -> _Sequential:
        try:
            with silence_c_libraries():
                if self._whole is not None and segments is not self._part.counted:
                    os.lseek(self._whole, 0, os.SEEK_SET)
                    return _Sequential(self._whole, closefd=False)
                file: Any = SplicedFile(self._base, segments)
                return _Sequential(file)
        except soundfile.LibsndfileError as error:
            self._base.check()
            raise UnsupportedError(describe(error)) from error

    def _read_part(self) -> Block:
        file = self._file
        # The length in a header may only make the block smaller.
        left = self._promised - self._done if self._promised else max(1, file.frames)
        count = min(block_length(file.channels, file.samplerate), left)
        if count == 0:
            return np.zeros((0, file.channels), self._dtype)
        try:
            with silence_c_libraries() if self._mpeg else nullcontext():
                block = file.read(count, dtype=self._dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            self._base.check()
            fault = Fault.TRUNCATED if self._promised else Fault.DAMAGED
            raise AudioError(fault, describe(error)) from error
        self._base.check()
        self._done += len(block)
        if not len(block):
            self._check_complete()
        return block

    def _check_complete(self) -> None:
        if self._done < self._promised:
            raise AudioError(Fault.TRUNCATED, f"{self._done:,} of {self._promised:,} samples")
        if self._done < self._part.least - MAX_LOST:
            raise AudioError(Fault.DAMAGED, f"{self._done:,} of {self._part.least:,} samples")


def describe(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".")
