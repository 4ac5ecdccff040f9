"""Decoding of uploads: in a few threads, within bounds, and never longer than their request.

A decoder holds one block of samples of all channels at the rate of the file, so the number of open
decoders bounds the memory. Short and long recordings have separate decoders: a long one never
delays a short one.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from typing import BinaryIO, TypeVar

import soundfile
from starlette.exceptions import HTTPException

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.audio.stream import read_blocks
from ser.errors import UserError
from ser.serving.limits import SHORT_SECONDS, Limits

SHORT_SAMPLES = SHORT_SECONDS * 48_000 * 2  # of all channels, as declared by the file

Result = TypeVar("Result")


class LongRecording(Exception):  # noqa: N818
    """The recording belongs to the decoders for long ones."""


def decode_upload(
    file: BinaryIO,
    seconds: float,
    too_long: Exception,
    cancelled: Callable[[], bool],
    warnings: list[str] | None = None,
) -> Generator[Waveform, None, None]:
    """Yield consecutive blocks (time,) of an upload, mono at 16 kHz; see `read_blocks`.

    Raises `too_long` after more than `seconds`, DecodingCancelledError once `cancelled` returns
    true, and UserError if the upload is not a readable recording.
    """
    samples = 0
    for block in read_blocks(file, cancelled=cancelled, warnings=warnings):
        samples += len(block)
        if samples > seconds * SAMPLE_RATE:
            raise too_long
        yield block


def declared_samples(file: BinaryIO) -> int:
    """The number of samples of all channels that the header declares; 0 if it is unreadable."""
    try:
        with soundfile.SoundFile(file) as opened:
            return opened.frames * opened.channels
    except (soundfile.LibsndfileError, OSError):
        return 0
    finally:
        file.seek(0)


class Lane:
    """Recordings of one kind: at most `waiting` in the queue, with `decoders` of them decoded."""

    def __init__(self, kind: str, waiting: int, decoders: int) -> None:
        self.kind, self.most = kind, waiting
        self.waiting = 0
        self.slots = asyncio.Semaphore(decoders)

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Count a recording until its answer; raises HTTPException 503 if there are too many."""
        if self.waiting >= self.most:
            message = f"{self.waiting} {self.kind} are waiting; try again in a second"
            raise HTTPException(503, message, {"Retry-After": "1"})
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


class Decoders:
    """The threads that decode uploads, and the queues before them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.short = Lane("recordings", limits.waiting, limits.decoders)
        self.long = Lane("long recordings", limits.waiting, limits.decoders)
        self.threads = ThreadPoolExecutor(2 * limits.decoders, "decoder")

    @property
    def waiting(self) -> int:
        return self.short.waiting + self.long.waiting

    async def read_short(
        self,
        file: BinaryIO,
        consume: Callable[[Iterator[Waveform]], Result],
        warnings: list[str] | None = None,
    ) -> Result:
        """The result of `consume` for the blocks of a recording; raises LongRecording.

        `consume` runs in a thread. To be called within `short.enter()`.
        """
        seconds = min(SHORT_SECONDS, self.limits.audio_seconds)
        async with self.short.slots:
            decoding = Decoding(self.threads, file, seconds, LongRecording(), warnings)
            return await decoding.run(lambda: consume(decoding.short_blocks()))

    @asynccontextmanager
    async def open_long(
        self, file: BinaryIO, warnings: list[str] | None = None
    ) -> AsyncIterator["Decoding"]:
        """A recording of any length up to the limit; it is closed when its thread has stopped."""
        too_long = UserError(self.limits.too_long)
        async with self.long.enter(), self.long.slots:
            file.seek(0)
            longest = self.limits.audio_seconds
            decoding = Decoding(self.threads, file, longest, too_long, warnings)
            with closing(decoding.blocks):
                yield decoding

    async def decode(
        self, file: BinaryIO, consume: Callable[[Iterator[Waveform]], Result]
    ) -> Result:
        """The result of `consume`, which runs in a thread, for the blocks of any recording."""
        async with self.short.enter():
            with suppress(LongRecording):
                return await self.read_short(file, consume)
        async with self.open_long(file) as decoding:
            return await decoding.run(lambda: consume(decoding.blocks))

    def close(self) -> None:
        self.threads.shutdown()


class Decoding:
    """One upload and its blocks (time,) at 16 kHz, which threads of a pool consume."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        file: BinaryIO,
        seconds: float,
        too_long: Exception,
        warnings: list[str] | None = None,
    ) -> None:
        self.threads, self.file = threads, file
        self._cancelled = threading.Event()
        self.blocks = decode_upload(file, seconds, too_long, self._cancelled.is_set, warnings)

    def short_blocks(self) -> Iterator[Waveform]:
        """As `blocks`; raises LongRecording before decoding if the header declares a long one."""
        if declared_samples(self.file) > SHORT_SAMPLES:
            raise LongRecording
        with closing(self.blocks):
            yield from self.blocks

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work` in a thread.

        If the task is cancelled, the decoder stops at its next block, and this returns only then:
        until the thread has ended it holds its slot, and its file stays open.
        """
        future = asyncio.get_running_loop().run_in_executor(self.threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._cancelled.set()
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            future.exception()  # retrieved, or asyncio logs it
            raise
