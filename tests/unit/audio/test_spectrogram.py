"""Log-mel spectrograms, compared with librosa."""

import librosa
import numpy as np
import pytest

from ser.audio.spectrogram import LOUDNESS_RANGE, log_mel, mel_power


@pytest.fixture
def waveform() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, 20_000)
    return (noise * np.linspace(0, 1, 20_000) ** 4).astype(np.float32)


@pytest.fixture
def expected(waveform) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=512, hop_length=160, n_mels=64
    )


def test_the_power_is_that_of_librosa(waveform, expected):
    np.testing.assert_allclose(mel_power(waveform), expected, rtol=1e-3, atol=1e-6)


def test_the_loudness_is_that_of_librosa(waveform, expected):
    loudness = librosa.power_to_db(expected, ref=np.max, top_db=LOUDNESS_RANGE)
    np.testing.assert_allclose(log_mel(waveform), loudness, atol=0.01)


def test_silence_has_a_loudness():
    assert np.isfinite(log_mel(np.zeros(16_000, np.float32))).all()
