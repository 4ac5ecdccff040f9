"""Decoders: bounded, cancelled with their request, long recordings apart from short ones."""

import asyncio
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from starlette.exceptions import HTTPException

from ser.audio.recording import DecodingCancelledError
from ser.errors import UserError
from ser.serving import decoding
from ser.serving.decoding import (
    Decoders,
    LongRecording,
    declared_samples,
    decode_upload,
)
from ser.serving.limits import SHORT_SECONDS, Limits


def flac(seconds: float, rate: int = 8_000, channels: int = 1) -> io.BytesIO:
    """A recording of clicks, small as a file."""
    samples = np.zeros((round(seconds * rate), channels), np.int16)
    samples[::rate] = 9_000
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    buffer.seek(0)
    return buffer


def total(blocks) -> int:
    return sum(map(len, blocks))


def never() -> bool:
    return False


def test_all_samples_of_an_upload_are_yielded_at_16_khz():
    blocks = decode_upload(flac(90, 8_000, 2), 100, LongRecording(), never)
    assert total(blocks) == pytest.approx(90 * 16_000, abs=2)


def test_too_long_an_upload_stops_at_the_limit():
    read = []
    blocks = decode_upload(flac(300), 100, UserError("split it"), never)
    with pytest.raises(UserError, match="split"):
        read.extend(len(block) for block in blocks)
    assert 50 * 16_000 < sum(read) <= 100 * 16_000


def test_a_cancelled_decoder_stops_at_its_next_block():
    cancelled = threading.Event()
    blocks = decode_upload(flac(300), 1000, LongRecording(), cancelled.is_set)
    next(blocks)
    cancelled.set()
    with pytest.raises(DecodingCancelledError):
        next(blocks)


def test_declared_samples_count_all_channels_and_leave_the_file_at_its_start():
    file = flac(2, 8_000, 3)
    assert declared_samples(file) == 2 * 8_000 * 3
    assert file.tell() == 0
    assert declared_samples(io.BytesIO(b"no audio")) == 0


def run(limits: Limits, work):
    """The result of a coroutine that uses decoders, in a thread of its own.

    A browser test in the same process leaves a running event loop in the main thread.
    """

    async def with_decoders():
        decoders = Decoders(limits)
        try:
            return await work(decoders)
        finally:
            decoders.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, with_decoders()).result()


@pytest.mark.parametrize("seconds", [1, SHORT_SECONDS - 1, SHORT_SECONDS + 1, 200])
def test_recordings_of_any_length_are_decoded_once_and_whole(seconds):
    assert run(Limits(), lambda decoders: decoders.decode(flac(seconds), total)) == pytest.approx(
        seconds * 16_000, abs=2
    )


def test_a_header_that_lies_about_its_length_does_not_make_a_recording_short(monkeypatch):
    monkeypatch.setattr(decoding, "declared_samples", lambda file: 0)

    async def work(decoders):
        with pytest.raises(LongRecording):
            await decoders.read_short(flac(200), total)
        return await decoders.decode(flac(200), total)

    assert run(Limits(), work) == pytest.approx(200 * 16_000, abs=2)


def test_too_long_a_recording_is_refused_whatever_it_declares():
    with pytest.raises(UserError, match="longer than 20 s"):
        run(Limits(audio_seconds=20), lambda decoders: decoders.decode(flac(21), total))


def test_no_more_decoders_are_open_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def consume(blocks):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return total(blocks)

    async def work(decoders):
        return await asyncio.gather(*(decoders.decode(flac(1), consume) for _ in range(12)))

    assert len(run(Limits(decoders=2), work)) == 12
    assert most[0] == 2


def test_long_recordings_do_not_delay_short_ones():
    go = threading.Event()

    def hold(blocks):
        count = total(blocks)
        if count > SHORT_SECONDS * 16_000:
            assert go.wait(10)
        return count

    async def work(decoders):
        long = [asyncio.create_task(decoders.decode(flac(100), hold)) for _ in range(4)]
        await asyncio.sleep(0.2)
        short = await asyncio.wait_for(decoders.decode(flac(1), hold), 5)
        go.set()
        await asyncio.gather(*long)
        return short

    assert run(Limits(decoders=1), work) == 16_000


def test_too_many_waiting_recordings_are_refused():
    go = threading.Event()

    async def work(decoders):
        def hold(blocks):
            assert go.wait(10)

        waiting = [asyncio.create_task(decoders.decode(flac(1), hold)) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(HTTPException) as refused:
            await decoders.decode(flac(1), hold)
        go.set()
        await asyncio.gather(*waiting)
        return refused.value, decoders.waiting

    refused, waiting = run(Limits(waiting=3), work)
    assert refused.status_code == 503
    assert refused.headers == {"Retry-After": "1"}
    assert waiting == 0


def test_a_cancelled_request_ends_its_decoder_before_it_returns():
    """The thread stops within a second, and until then the slot counts and the file is open."""
    states = []

    async def work(decoders):
        file = flac(500, 96_000, 8)

        def watch(blocks):
            try:
                return total(blocks)
            finally:
                states.append((decoders.waiting, file.closed))

        task = asyncio.create_task(decoders.decode(file, watch))
        await asyncio.sleep(0.3)
        started = time.process_time()  # whatever else the machine does
        task.cancel()
        task.cancel()  # twice, as a time-out and a shutdown may
        with pytest.raises(asyncio.CancelledError):
            await task
        file.close()
        return time.process_time() - started, decoders.waiting

    seconds, waiting = run(Limits(), work)
    assert seconds < 1
    assert states[-1] == (1, False)
    assert waiting == 0
