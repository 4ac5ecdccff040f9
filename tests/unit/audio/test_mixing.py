from pathlib import Path

import numpy as np
import pytest
import soundfile
from recording_formats import RATE, speech

from ser.audio.decode import decode
from ser.audio.examine import examine
from ser.audio.mixing import as_mono
from ser.audio.stream import read_blocks

VOICE, OTHER = speech(2.0), speech(2.0, seed=5)


def write(path: Path, *channels: np.ndarray, **options) -> Path:
    soundfile.write(path, np.column_stack(channels), RATE, **options)
    return path


def test_opposite_channels_are_repaired_and_that_is_noted(tmp_path):
    repaired, _ = examine(write(tmp_path / "a.wav", VOICE, -VOICE))
    alone, _ = examine(write(tmp_path / "b.wav", VOICE))
    assert repaired.note == "opposite phase: only channel 1 of 2 is used"
    assert (repaired.content, repaired.channels) == (alone.content, 2)
    assert alone.note == ""


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_the_louder_one_of_opposite_channels_is_used(subtype, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.002, len(VOICE))
    path = write(tmp_path / "a.wav", -0.7 * VOICE + noise, VOICE, subtype=subtype)
    recording = decode(path)
    assert recording.note == "opposite phase: only channel 2 of 2 is used"
    np.testing.assert_allclose(recording.waveform, VOICE, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(path))), recording.waveform)


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, VOICE),
        (VOICE, OTHER),  # unrelated
        (VOICE, np.zeros(len(VOICE))),
        (VOICE, np.roll(VOICE, 20)),  # two microphones
        (0.3 * VOICE + 0.5 * OTHER, 0.5 * OTHER - 0.3 * VOICE),  # a wide mix
        (VOICE, OTHER, VOICE, -VOICE, OTHER),
        (np.zeros(1000), np.zeros(1000)),
    ],
)
def test_other_channels_are_averaged(channels, tmp_path):
    recording = decode(write(tmp_path / "a.wav", *channels, subtype="FLOAT"))
    assert recording.note == ""
    expected = np.mean(np.float32(channels), axis=0)
    np.testing.assert_allclose(recording.waveform, expected, atol=1e-6)


def test_an_offset_does_not_hide_opposite_channels(tmp_path):
    recording = decode(write(tmp_path / "a.wav", 0.2 + VOICE / 2, 0.2 - VOICE / 2))
    assert recording.note


def test_silence_before_opposite_channels_changes_nothing(tmp_path):
    silence = np.zeros(40 * RATE)
    left, right = np.concatenate([silence, VOICE]), np.concatenate([silence, -VOICE])
    path = write(tmp_path / "a.wav", left, right)
    assert decode(path).note
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(path))), decode(path).waveform)
    np.testing.assert_allclose(decode(path).waveform, left, atol=1e-4)


def test_samples_from_memory_are_repaired_too():
    stereo = np.column_stack([VOICE, -VOICE])
    np.testing.assert_array_equal(as_mono(stereo), VOICE.astype(np.float32))


def test_samples_that_are_not_finite_are_mixed_without_a_warning(recwarn):
    stereo = np.array([[np.inf, -np.inf], [np.nan, 0], [3e38, 3e38]], np.float32)
    as_mono(stereo)
    assert not recwarn.list
