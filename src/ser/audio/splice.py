"""A read-only file that is put together from parts of another file and from replaced bytes."""

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from ser.audio.recording import DecodingCancelledError

Segment = bytes | range
"""Literal bytes, or a range of offsets in the underlying file."""


@dataclass(frozen=True)
class Part:
    """A stretch of a file that libsndfile decodes on its own.

    It holds `least` samples or more. If libsndfile sees fewer in `segments`, it is to read
    `counted`, in which a header states the right number. `note` says what is wrong with it.
    """

    segments: Sequence[Segment]
    least: int = 0
    counted: Sequence[Segment] = ()
    note: str = ""


class SplicedFile:
    """The segments of a file, one after another, as a seekable binary file.

    Decoders call it from C, where an exception would be printed and lost. So a failed or cancelled
    read looks like the end of the file, and `check` raises what happened. The underlying file is
    never closed here.
    """

    def __init__(
        self,
        file: "BinaryIO | SplicedFile",
        segments: Sequence[Segment],
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._file, self._cancelled = file, cancelled
        self._segments = [segment for segment in segments if len(segment)]
        self._starts = [0, *accumulate(map(len, self._segments))]
        self._position = 0
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def check(self) -> None:
        """Raise DecodingCancelledError if decoding was cancelled, or the error of a failed read."""
        if self._cancelled is not None and self._cancelled():
            raise DecodingCancelledError
        if isinstance(self._file, SplicedFile):
            self._file.check()
        if self._error is not None:
            raise self._error

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self)}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (-1: all) from the current position; fewer after a failed read."""
        left = max(0, len(self) - self._position)
        left = left if size < 0 else min(left, size)
        parts = []
        while left > 0 and (part := self._read_some(left)):
            parts.append(part)
            self._position += len(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _read_some(self, size: int) -> bytes:
        """Up to `size` bytes of the segment at the current position; none after an error."""
        row = bisect_right(self._starts, self._position) - 1
        segment, skip = self._segments[row], self._position - self._starts[row]
        try:
            self.check()
            if isinstance(segment, bytes):
                return segment[skip : skip + size]
            self._file.seek(segment.start + skip)
            return self._file.read(min(size, len(segment) - skip))
        except BaseException as error:  # `check` raises it again
            self._error = error
            return b""


def whole_file(
    file: BinaryIO, start: int = 0, cancelled: Callable[[], bool] | None = None
) -> SplicedFile:
    """The bytes of a file from offset `start` on."""
    return SplicedFile(file, [range(start, file.seek(0, io.SEEK_END))], cancelled)


class Peek:
    """Random access to a few bytes at a time, with a buffer that begins with `head`."""

    SIZE = 2**16

    def __init__(self, file: SplicedFile, head: bytes = b"") -> None:
        self._file, self._start, self._buffer = file, 0, head
        self.size = len(file)

    def __call__(self, start: int, count: int) -> bytes:
        """The `count` bytes from `start`; fewer at the end of the file."""
        place = start - self._start
        if not 0 <= place <= place + count <= len(self._buffer):
            self._file.seek(start)
            self._start, self._buffer, place = start, self._file.read(max(self.SIZE, count)), 0
            self._file.check()
        return self._buffer[place : place + count]
