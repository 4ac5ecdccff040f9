"""Reading in blocks: cancelled, limited, in little memory, at any rate and channel count."""

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recording_formats import speech

from ser.audio.decode import load
from ser.audio.examine import examine
from ser.audio.recording import (
    BLOCK,
    BLOCK_SECONDS,
    SAMPLE_RATE,
    AudioError,
    DecodingCancelledError,
    Fault,
)
from ser.audio.stream import read_blocks
from ser.errors import UserError


def test_a_pipe_is_not_taken_for_a_missing_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match="pipe"):
        next(read_blocks(tmp_path / "pipe.wav"))


def write(path: Path, samples: np.ndarray, rate: int, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


FORMATS = ["pcm16.wav", "a.flac", "a.mp3", "a.ogg", "aac.m4a", "opus.webm", "wma.wma"]


@pytest.mark.parametrize("name", FORMATS)
def test_cancelled_reading_stops_and_leaves_the_file_open(name, recordings):
    file, calls = io.BytesIO(recordings(name)), 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 3

    with pytest.raises(DecodingCancelledError):
        list(read_blocks(file, cancelled=cancelled))
    assert not file.closed
    assert len(np.concatenate(list(read_blocks(file)))) > SAMPLE_RATE


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"format": "FLAC"}, {"format": "MP3"}, {"format": "OGG"}])
def test_cancelling_a_long_recording_takes_little_time(options, tmp_path):
    path, minute = tmp_path / "long", speech(60.0, 44_100)
    with soundfile.SoundFile(path, "w", 44_100, 1, **options) as file:
        for start in range(0, 2 * len(minute), 44_100):
            file.write(minute[start % len(minute) :][:44_100])
    stop = threading.Event()
    blocks = read_blocks(path, cancelled=stop.is_set)
    next(blocks)
    stop.set()
    started = time.monotonic()
    with pytest.raises(DecodingCancelledError):
        list(blocks)
    assert time.monotonic() - started < 1.0


def test_cancelling_samples_from_memory():
    with pytest.raises(DecodingCancelledError):
        list(read_blocks((speech(1.0), SAMPLE_RATE), cancelled=lambda: True))


def test_an_open_file_that_fails_raises_its_own_error(recordings, capfd):
    class Failing(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            if self.reads > 1:
                raise OSError("the disk is gone")
            return super().read(size)

    for name in ("a.mp3", "a.flac", "aac.m4a", "pcm24.wav"):
        with pytest.raises(OSError, match="the disk is gone"):
            list(read_blocks(Failing(recordings(name))))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", FORMATS)
def test_a_longer_recording_than_allowed_is_refused(name, recordings):
    with pytest.raises(UserError, match=r"longer than 1\.5 s"):
        list(read_blocks(io.BytesIO(recordings(name)), max_seconds=1.5))
    assert list(read_blocks(io.BytesIO(recordings(name)), max_seconds=2.2))


def test_the_limit_holds_in_the_time_of_the_recording_and_ends_the_reading(tmp_path):
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 48_000, 2) as file:
        for _ in range(600):
            file.write(np.zeros((48_000, 2)))
    started, blocks = time.monotonic(), []
    with pytest.raises(UserError):
        blocks.extend(read_blocks(path, max_seconds=60))
    assert sum(map(len, blocks)) <= 60 * SAMPLE_RATE
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("rate", [1000, 4000, 11_025, 22_050, 24_414, 96_000, 192_000, 384_000])
@pytest.mark.parametrize("channels", [1, 2, 5, 16])
def test_any_rate_and_channel_count(rate, channels, tmp_path):
    seconds = 1.0 if rate > 50_000 else 2.0
    samples = speech(seconds, rate)[:, None] * np.linspace(0.2, 1, channels)
    path = write(tmp_path / "a.wav", samples, rate, subtype="PCM_24")
    blocks = list(read_blocks(path))
    assert sum(map(len, blocks)) == pytest.approx(seconds * SAMPLE_RATE, abs=1)
    np.testing.assert_array_equal(np.concatenate(blocks), load(path))


@pytest.mark.parametrize("rate", [8000, 44_100, 384_000])
@pytest.mark.parametrize("channels", [1, 8])
def test_blocks_are_small(rate, channels, tmp_path):
    frames = min(40 * rate, 4 * BLOCK // channels)
    noise = np.random.default_rng(0).integers(-9999, 9999, (frames, channels)).astype(np.int16)
    path = write(tmp_path / "a.wav", noise, rate)
    longest = max(map(len, read_blocks(path)))
    most = min(BLOCK // channels, BLOCK_SECONDS * rate) * SAMPLE_RATE / rate
    assert longest <= most + 2000  # what the resampler held back


@pytest.mark.parametrize("samples", [0, 1, 2, 10])
@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_next_to_nothing(samples, rate, tmp_path):
    path = write(tmp_path / "a.wav", 0.5 * (-1.0) ** np.arange(samples), rate)
    expected = round(samples * SAMPLE_RATE / rate)
    if expected == 0 or samples == 1:
        with pytest.raises(AudioError) as raised:
            list(read_blocks(path))
        assert raised.value.fault == (Fault.SILENT if expected else Fault.EMPTY)
    else:
        assert len(np.concatenate(list(read_blocks(path)))) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(("rate", "fault"), [(999, Fault.LOW_RATE), (2**30, Fault.HIGH_RATE)])
def test_rates_that_only_a_header_can_have(rate, fault, tmp_path):
    path = write(tmp_path / "a.wav", speech(0.1), rate)
    for source in (path, (speech(0.1), rate)):
        with pytest.raises(AudioError) as raised:
            list(read_blocks(source))
        assert raised.value.fault == fault


def test_a_pipe_is_read(recordings):
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    found = np.concatenate(list(read_blocks(Pipe(recordings("a.flac")))))
    expected = np.concatenate(list(read_blocks(io.BytesIO(recordings("a.flac")))))
    np.testing.assert_array_equal(found, expected)


def test_a_name_that_is_not_utf8_is_read(recordings, tmp_path):
    path = tmp_path / b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    try:
        path.write_bytes(recordings("pcm16.wav"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert len(load(path)) == 2 * SAMPLE_RATE


MEASURE = """
import resource, sys
from ser.audio.stream import read_blocks
for _ in read_blocks(sys.argv[1]): pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in read_blocks(sys.argv[2]): pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="maximal memory is counted in KiB on Linux")
@pytest.mark.parametrize(
    ("rate", "channels", "seconds", "options"),
    [
        (192_000, 8, 120, {"format": "FLAC"}),
        (192_000, 64, 5, {"format": "WAV"}),
        (1000, 1, 3600, {"format": "WAV"}),
        (44_100, 2, 60, {"format": "MP3"}),
    ],
)
def test_an_open_decoder_takes_little_memory(rate, channels, seconds, options, tmp_path):
    path = tmp_path / "large"
    noise = np.random.default_rng(0).integers(-3000, 3000, (rate, 1)).astype(np.int16)
    second = np.repeat(noise, channels, axis=1)  # channels of their own would cancel
    with soundfile.SoundFile(path, "w", rate, channels, **options) as file:
        for _ in range(seconds):
            file.write(second)
    small = write(tmp_path / "small", speech(0.2), 44_100, **options)
    run = [sys.executable, "-c", MEASURE, str(small), str(path)]
    assert int(subprocess.run(run, capture_output=True, check=True, text=True).stdout) < 32


POISONED = """
import hashlib, io, sys
from pathlib import Path
from ser.audio.stream import read_blocks
for path in sorted(Path(sys.argv[1]).iterdir()):
    digest = hashlib.sha256()
    try:
        for block in read_blocks(path): digest.update(block.tobytes())
    except ValueError as error: digest.update(str(error).encode())
    print(path.name, digest.hexdigest())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="MALLOC_PERTURB_ is a setting of glibc")
def test_no_sample_comes_from_memory_that_was_not_written(recordings, tmp_path):
    random = np.random.default_rng(3)
    for name in (*FORMATS, "adpcm.wav", "gsm.wav", "a.opus", "narrow.amr", "mp2.ts", "aac.aac"):
        whole = bytearray(recordings(name))
        (tmp_path / f"whole-{name}").write_bytes(whole)
        (tmp_path / f"cut-{name}").write_bytes(whole[: int(random.integers(len(whole)))])
        for place in random.integers(len(whole) // 2, len(whole), 5):
            whole[place] ^= 0xFF
        (tmp_path / f"damaged-{name}").write_bytes(whole)
    run = [sys.executable, "-c", POISONED, str(tmp_path)]
    answers = set()
    for byte in ("1", "170", "255"):  # what the allocator fills memory with
        environment = {"MALLOC_PERTURB_": byte, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(run, capture_output=True, check=True, text=True, env=environment)
        lines = done.stderr.splitlines()  # of ours, each about a recording
        assert all(line.startswith(str(tmp_path)) for line in lines)
        answers.add(done.stdout)
    assert len(answers) == 1


def test_a_repair_is_logged_with_the_name_of_the_recording(tmp_path, caplog):
    voice = 0.3 * np.sin(np.arange(16_000) * 0.1)
    path = write(tmp_path / "call.wav", np.stack([voice, -voice], axis=1), 16_000)
    list(read_blocks(path))
    [record] = caplog.records
    assert "call.wav" in record.getMessage()
    assert "opposite phase" in record.getMessage()


@pytest.mark.parametrize(
    "samples",
    [0.3 + 1e-4 * np.random.default_rng(0).normal(size=16_000), np.sin(np.arange(16_000)) * 1e-4],
    ids=["offset and noise", "a very quiet tone"],
)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_quiet_recording_is_not_clipped(tmp_path, samples, subtype):
    path = write(tmp_path / "quiet.wav", samples, 16_000, subtype=subtype)
    assert examine(path)[0].fault != Fault.CLIPPED.value
