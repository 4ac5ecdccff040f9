import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.audio.decode import load
from ser.audio.mixing import as_mono
from ser.audio.recording import SAMPLE_RATE
from ser.audio.stream import read_blocks
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.inference.load import TrainedModel
from ser.inference.prediction import WindowPrediction, merge
from ser.inference.predictor import Predictor
from ser.inference.settings import WindowConfig
from ser.inference.windows import Window, cut_blocks, not_silent, read_windows

WHOLE = WindowConfig(3600, 3600)


def noise(seconds: float, rate: int = SAMPLE_RATE, channels: int = 1) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def read(source, sliding: WindowConfig = WHOLE) -> list[Window]:
    return list(read_windows(source, sliding))


@pytest.mark.parametrize(
    ("total", "window", "hop", "starts"),
    [
        (1.0, 1.0, 1.0, [0]),  # exactly one
        (0.7, 1.0, 1.0, [0]),  # shorter than one
        (2.0, 1.0, 1.0, [0, 1.0]),
        (2.5, 1.0, 1.0, [0, 1.0, 1.5]),  # the last ends with the recording
        (1.2, 1.0, 0.1, [0, 0.1, 0.2]),
        (1.3, 1.0, 0.2, [0, 0.2, 0.3]),
        (0.0, 1.0, 1.0, []),
    ],
)
@pytest.mark.parametrize("block", [160, 4_800, 16_000, 160_000])
def test_windows_cover_all_whatever_the_blocks(total, window, hop, starts, block):
    samples = np.arange(round(total * SAMPLE_RATE), dtype=np.float32)
    blocks = (samples[i : i + block] for i in range(0, len(samples), block))
    pieces = list(cut_blocks(blocks, WindowConfig(window, hop)))
    assert [piece.start for piece in pieces] == starts
    for start, piece in zip(starts, pieces, strict=True):
        first = round(start * SAMPLE_RATE)
        np.testing.assert_array_equal(piece.waveform, samples[first : first + SAMPLE_RATE])


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_414, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_short_file_is_decoded_exactly_as_for_training(tmp_path, rate, channels):
    path = write(tmp_path / "a.wav", noise(1.0, rate, channels), rate)
    [piece] = read(path)
    np.testing.assert_array_equal(piece.waveform, load(path))
    assert piece.start == 0


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_long_file_in_blocks_is_the_file_at_once(tmp_path, rate):
    path = write(tmp_path / "a.flac", noise(70, rate), rate)
    [piece] = read(path)
    at_once = load(path)
    assert abs(len(piece.waveform) - len(at_once)) <= 1
    shared = min(len(piece.waveform), len(at_once))
    np.testing.assert_allclose(piece.waveform[:shared], at_once[:shared], atol=1e-4)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "w64", "caf"])
def test_the_usual_formats_are_read(tmp_path, suffix):
    [piece] = read(write(tmp_path / f"a.{suffix}", noise(1.0)))
    assert piece.end == pytest.approx(1.0, abs=0.1)  # MP3 pads


def test_an_open_file_is_read_like_its_path(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.5))
    [piece] = read(io.BytesIO(path.read_bytes()))
    np.testing.assert_array_equal(piece.waveform, read(path)[0].waveform)


def test_samples_from_memory_are_mixed_scaled_and_resampled():
    stereo = np.array([[16384, 0], [-32768, -32768]], np.int16)
    np.testing.assert_array_equal(as_mono(stereo), np.array([0.25, -1.0], np.float32))
    [piece] = read((noise(1.0, 48_000)[:, 0], 48_000))
    assert len(piece.waveform) == SAMPLE_RATE


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 2, 2), np.float32), "give (time,) or (time, channels)"),
        (np.zeros(8, np.uint8), "give floating-point or signed ones"),
        (np.full(8000, np.nan, np.float32), "not finite"),
        (np.zeros(0, np.float32), "holds no sound"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(samples, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read((samples, SAMPLE_RATE))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sound"),
        (b"this is no audio, whatever its name says", "not a recording"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"RIFF\xff\xff\x00\x00WAVEfmt ", "shorter than its header says"),
    ],
)
def test_a_bad_file_is_refused_with_a_sentence(tmp_path, content, message):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(path)


def test_a_flac_file_that_was_cut_is_refused(tmp_path):
    path = write(tmp_path / "a.flac", noise(40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="shorter than its header says"):
        read(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read(tmp_path / "none.wav")
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)


def test_windows_obey_their_rules():
    with pytest.raises(ValueError, match=r"window=0.1: from 0.25 s to an hour"):
        WindowConfig(0.1, 0.1)
    with pytest.raises(ValueError, match="hop=4"):
        WindowConfig(3, 4)


def test_silence_is_what_training_drops():
    tone: Any = np.sin(np.arange(1000, dtype=np.float32))
    assert not not_silent(0.000045 * tone)  # 0.9e-4 from peak to peak
    assert not_silent(0.000055 * tone)
    assert not not_silent(0.000045 * tone + 0.1)  # an offset is no sound
    assert not not_silent(tone[:0])


def test_seconds_that_a_header_makes_into_hours_are_refused(tmp_path):
    path = write(tmp_path / "slow.wav", noise(1.0), rate=1)
    with pytest.raises(ValueError, match="below 1,000 Hz"):
        list(read_blocks(path))
    with pytest.raises(ValueError, match="below 1,000 Hz"):
        list(read_blocks((noise(1.0), 1)))


@pytest.mark.parametrize("seconds", [0.7, 1.1, 1.3, 2.3, 3.3])
def test_windows_that_touch_leave_no_gap(seconds):
    noise = np.ones(60 * SAMPLE_RATE, np.float32)
    windows = list(cut_blocks([noise], WindowConfig(seconds, seconds)))
    ends = [window.end for window in windows[:-2]]
    assert ends == [window.start for window in windows[1:-1]]
    alike = [WindowPrediction.of(each.start, each.end, ["a"], [1.0]) for each in windows]
    assert len(merge(alike)) == 1


def test_slow_speeds_shorten_the_whole_seconds(make_network):
    whisper = {"model_type": "whisper", "d_model": 32, "encoder_layers": 1}
    whisper |= {"encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    model = TrainedModel("w", make_network(whisper).eval(), False, tuple(LABELS), None, 30.0)
    predictor = Predictor(model, "cpu", speeds=(0.9, 1.0))
    assert predictor.check_windows(None).window == pytest.approx(27)
    assert Predictor(model, "cpu").check_windows(None).window == 30
    with pytest.raises(UserError, match="window"):
        predictor.check_windows(WindowConfig(28, 1))
