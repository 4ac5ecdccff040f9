"""Open and decode recordings of any format; nothing else in this package does.

The format is recognised by content. libsndfile decodes what it decodes correctly, FFmpeg the rest.
Lengths come from reading, not from headers. The same bytes always give the same samples, at once
for training (`decode`) and in blocks for prediction (`ser.audio.stream`).
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, Self

import numpy as np

from ser.audio.damage import join_notes
from ser.audio.ffmpeg import FFmpegDecoder
from ser.audio.mixing import Mixer
from ser.audio.recording import (
    HIGHEST_RATE,
    LOWEST_RATE,
    AudioError,
    Block,
    Fault,
    Mono,
    Recording,
    UnsupportedError,
    Waveform,
    block_length,
    scale,
)
from ser.audio.resample import resample
from ser.audio.sndfile import KINDS, SndfileDecoder
from ser.audio.sniff import Container, locate
from ser.audio.splice import Part, Peek, SplicedFile, whole_file
from ser.audio.surveys import SURVEYS
from ser.system.files import LFS_POINTER

Cancelled = Callable[[], bool] | None
ROUNDING = 0.01  # seconds; many tables round times to hundredths, also beyond the end of the file


class Decoder(Protocol):
    """An open file: `read` gives its samples block by block, an empty block at the end.

    `skip` passes over at most this many samples and returns how many; it may be unable to. `note`
    says what is wrong with what was read.
    """

    sample_rate: int
    channels: int
    format: str
    note: str

    def read(self) -> Block: ...

    def skip(self, frames: int) -> int: ...

    def close(self) -> None: ...


class OpenRecording:
    """An open recording at its own `sample_rate` in Hz, mixed to mono or of one `channel`.

    The file must stay open meanwhile and is not closed here. Raises AudioError if it is not a
    recording or not whole, DecodingCancelledError once `cancelled` returns True.
    """

    def __init__(
        self, file: BinaryIO, cancelled: Cancelled = None, channel: int | None = None
    ) -> None:
        self._file, self._cancelled, self._channel = file, cancelled, channel
        self.note = ""
        self._start()

    def _start(self) -> None:
        self._decoder = open_decoder(self._file, self._cancelled)
        self._offset, self._held = 0, list[Block]()  # samples of all channels from `_offset` on
        self.sample_rate, self.format = self._decoder.sample_rate, self._decoder.format
        self.channels = self._decoder.channels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._decoder.close()

    def blocks(self) -> Iterator[Mono]:
        """Consecutive mono samples (time,), int16 or float32, a few seconds at most.

        After the last one, `note` says what is wrong with the recording, or how it was repaired.
        """
        mix = Mixer(self._channel)
        while len(block := self._decoder.read()):
            yield mix(block)
        self.note = join_notes([self._decoder.note, mix.note])

    def read(self, start: float = 0.0, end: float = 0.0) -> Recording:
        """The part from `start` to `end` seconds (0: to the end of the recording).

        It does not depend on which parts were read before. Parts are read fastest in the order of
        their starts. Raises AudioError if the part reaches beyond the recording by more than
        ROUNDING.
        """
        first = round(start * self.sample_rate)
        last = round(end * self.sample_rate) if end else None
        if first < self._offset:
            self._decoder.close()
            self._start()
        self._drop(first)
        mix, mixed, stop = Mixer(self._channel), list[Mono](), self._offset
        for block in self._take(None if last is None else last - first):
            mixed.append(mix(block))
            stop += len(block)
        whole = last is None or first <= last <= stop + ROUNDING * self.sample_rate
        if not (0 <= first <= stop and whole):
            seconds = stop / self.sample_rate
            detail = (
                f"start {start} s, end {end} s, but the file lasts {seconds:.2f} s; give both in"
                " seconds"
            )
            raise AudioError(Fault.OUT_OF_RANGE, detail)
        note = join_notes([self._decoder.note, mix.note])
        return Recording(join(mixed), self.sample_rate, self.format, self.channels, note)

    def _take(self, samples: int | None) -> Iterator[Block]:
        """Blocks from `_offset` on: this many samples, which stay held, or all of them (None)."""
        place = 0
        while samples is None or samples > 0:
            if place == len(self._held) and not self._fetch():
                return
            if samples is None:
                block = self._held.pop(0)
                self._offset += len(block)
            else:
                block = self._held[place][:samples]
                place, samples = place + 1, samples - len(block)
            yield block

    def _fetch(self) -> bool:
        block = self._decoder.read()
        if len(block):
            self._held.append(block)
        return len(block) > 0

    def _drop(self, first: int) -> None:
        """Forget the samples before `first`, read or not.

        Only whole blocks are skipped, so that blocks end at the same samples whatever was skipped.
        """
        size = block_length(self.channels, self.sample_rate)
        while self._offset < first:
            if not self._held:
                self._offset += self._decoder.skip((first - self._offset) // size * size)
                if self._offset == first or not self._fetch():
                    return
            count = min(first - self._offset, len(self._held[0]))
            self._held[0] = self._held[0][count:]
            self._offset += count
            if not len(self._held[0]):
                del self._held[0]


def decode(path: Path, start: float = 0.0, end: float = 0.0) -> Recording:
    """The recording in a file, or its part from `start` to `end` seconds (0: to the end).

    Raises AudioError if it cannot be used, OSError if the file cannot be opened.
    """
    with path.open("rb", buffering=0) as file, OpenRecording(file) as recording:
        return recording.read(start, end)


def load(path: Path) -> Waveform:
    """The samples (time,) of a file, mono at 16 kHz; raises as `decode` does."""
    recording = decode(path)
    return resample(recording.waveform, recording.sample_rate)


def join(blocks: list[Mono]) -> Mono:
    """The samples (time,) of consecutive blocks; floats unless all are integers."""
    if len(blocks) == 1:
        return blocks[0]
    if not all(block.dtype == np.int16 for block in blocks):
        blocks = [as_floats(block) for block in blocks]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def as_floats(block: Mono) -> Waveform:
    return scale(block, 1 / 32768) if block.dtype == np.int16 else block


def open_decoder(file: BinaryIO, cancelled: Cancelled = None) -> Decoder:
    """A decoder of a seekable file; raises as `OpenRecording` does."""
    kind, start, head = recognise(file)
    base = whole_file(file, start, cancelled)
    peek = Peek(base, head)
    parts = SURVEYS[kind](peek)
    plain = start == 0 and len(parts) == 1 and list(parts[0].segments) == [range(peek.size)]
    decoder = choose_decoder(kind, base, parts, descriptor_of(file) if plain else None)
    if not LOWEST_RATE <= decoder.sample_rate <= HIGHEST_RATE:
        decoder.close()
        low = decoder.sample_rate < LOWEST_RATE
        raise AudioError(Fault.LOW_RATE if low else Fault.HIGH_RATE, f"{decoder.sample_rate} Hz")
    return decoder


def recognise(file: BinaryIO) -> tuple[Container, int, bytes]:
    """The result of `locate`; raises AudioError if the file is not a recording."""
    kind, start, head = locate(file)
    if kind is None:
        if not head:
            raise AudioError(Fault.EMPTY)
        raise AudioError(Fault.LFS_POINTER if head.startswith(LFS_POINTER) else Fault.NOT_AUDIO)
    return kind, start, head


def choose_decoder(
    kind: Container, base: SplicedFile, parts: list[Part], descriptor: int | None
) -> Decoder:
    """SndfileDecoder for the formats in KINDS; FFmpegDecoder for the others and as a fallback.

    `descriptor` is that of the file, if it needs no splicing. Raises AudioError if there is nothing
    to decode, or no decoder for it.
    """
    if not parts:
        raise AudioError(Fault.EMPTY)
    reasons = []
    if kind in KINDS:
        try:
            return SndfileDecoder(kind, base, parts, descriptor)
        except UnsupportedError as error:
            reasons.append(f"libsndfile: {error}")
    try:
        segments = [segment for part in parts for segment in part.segments]
        note = join_notes(part.note for part in parts)
        return FFmpegDecoder(kind, SplicedFile(base, segments), note)
    except UnsupportedError as error:
        reasons.append(str(error))
    raise AudioError(Fault.UNSUPPORTED, "; ".join(reasons))


def descriptor_of(file: BinaryIO) -> int | None:
    """The descriptor of an unbuffered file, from which libsndfile reads faster."""
    return file.fileno() if isinstance(file, io.FileIO) else None
