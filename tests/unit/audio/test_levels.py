"""Silence, constant offsets and clipping: prediction says what keeps a file out of training."""

import numpy as np
import pytest
import soundfile
from recording_formats import speech

from ser.audio.examine import examine
from ser.audio.levels import Levels
from ser.audio.recording import AudioError, Fault
from ser.audio.stream import read_blocks

RATES = (8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)


def predict_reads(source) -> tuple[str, list[str]]:
    """The fault that prediction reports, and its warnings."""
    warnings: list[str] = []
    try:
        list(read_blocks(source, warnings=warnings))
    except AudioError as error:
        return error.fault, warnings
    return "", warnings


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("offset", [0.0, 0.3, -0.5, 1.0])
def test_a_constant_offset_is_silence_at_any_rate(tmp_path, rate, subtype, offset):
    path, samples = tmp_path / "a.wav", np.full(2 * rate, offset)
    soundfile.write(path, samples, rate, subtype=subtype)
    assert examine(path)[0].fault == Fault.SILENT
    assert predict_reads(path)[0] == Fault.SILENT
    assert predict_reads((samples, rate))[0] == Fault.SILENT


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("level", [0.9, 1.0])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_clipping_is_a_warning_in_prediction(tmp_path, rate, level, subtype, channels):
    path = tmp_path / "a.wav"
    samples = np.clip(40 * speech(3.0, rate), -level, level)
    soundfile.write(path, np.column_stack([samples] * channels), rate, subtype=subtype)
    clip, _ = examine(path)
    assert clip.fault == Fault.CLIPPED
    for source in (path, (samples, rate)):
        fault, [warning] = predict_reads(source)
        assert fault == ""
        assert clip.detail in warning


@pytest.mark.parametrize("rate", RATES)
def test_speech_on_an_offset_and_tones_are_used_without_a_warning(tmp_path, rate):
    path, time = tmp_path / "a.wav", np.arange(rate) / rate
    for samples in (
        0.3 + speech(1.0, rate),
        np.sin(2 * np.pi * 440 * time),
        speech(1.0, rate) / 99,
    ):
        soundfile.write(path, samples, rate)
        assert examine(path)[0].fault == ""
        assert predict_reads(path) == ("", [])


def test_channels_in_opposite_phase_are_a_warning():
    voice = speech(1.0)
    assert len(predict_reads((np.column_stack([voice, -voice]), 16_000))[1]) == 1
    assert predict_reads((np.column_stack([voice, voice]), 16_000))[1] == []


@pytest.mark.parametrize("size", [7, 1000, 20_000])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_blocks_count_what_the_whole_has(size, dtype):
    """The first blocks are quiet, so that the limit is known late."""
    samples = np.concatenate([speech(1.0) / 4, np.clip(9 * speech(2.0), -0.8, 0.8)])
    samples = (samples * (32767 if dtype == np.int16 else 1)).astype(dtype)
    limit = np.abs(samples.astype(float)).max()
    levels = Levels()
    for start in range(0, len(samples), size):
        levels.add(samples[start : start + size])
    expected = np.mean(np.abs(samples.astype(float)) >= 0.999 * limit)
    assert levels.clipped == pytest.approx(expected, abs=1e-6)
    assert expected > 0.1
