"""Perturbations, compared with the decibels and seconds they promise."""

import numpy as np
import pytest

from ser.evaluation.perturbations import add_noise, amplify, cut, limit_band, reverberate

TIME = np.arange(16_000) / 16_000


def tone(frequency: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("level", [30, 0])
def test_noise_has_the_asked_ratio(level):
    noisy = add_noise(tone(440), level, generator())
    ratio = 10 * np.log10(power(tone(440)) / power(noisy - tone(440)))
    assert ratio == pytest.approx(level, abs=0.01)


def test_a_telephone_passes_its_band_only():
    loss = {
        frequency: 10 * np.log10(power(limit_band(tone(frequency), 3400, generator())) / 0.125)
        for frequency in (100, 1000, 6000)
    }
    assert loss[1000] == pytest.approx(0, abs=0.5)
    assert loss[100] < -25
    assert loss[6000] < -25


def test_reverberation_decays_by_60_db_in_its_time():
    click = np.zeros(16_000, np.float32)
    click[0] = 1
    tail = reverberate(click, 0.5, generator())
    assert tail[0] == pytest.approx(1)
    assert np.sum(tail[1:] ** 2) == pytest.approx(0.5, rel=0.05)  # at one second, 1
    early, late = power(tail[800:1600]), power(tail[4800:5600])  # 0.25 s apart: half of 60 dB
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1)


def test_a_recorder_clips_loud_sound_and_rounds_quiet_sound():
    loud = amplify(tone(100), 20, generator())
    assert np.abs(loud).max() == 1
    assert np.mean(np.abs(loud) > 0.99) > 0.8
    quiet = amplify(tone(100), -80, generator())
    assert len(np.unique(quiet)) == 5  # 0.5 * 1e-4 * 32768 is 1.6: from -2 to 2


def test_a_cut_keeps_the_middle_and_never_lengthens():
    samples = np.arange(16_000, dtype=np.float32)
    np.testing.assert_array_equal(cut(samples, 0.5, generator()), samples[4000:12000])
    assert len(cut(samples, 2.0, generator())) == 16_000
