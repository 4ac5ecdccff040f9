"""Log-mel spectrograms for figures."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ser.audio.recording import SAMPLE_RATE, Waveform

FFT, HOP, BANDS = 512, 160, 64  # samples (32 and 10 ms), and mel bands
SILENT = 1e-10  # power
LOUDNESS_RANGE = 70  # dB that a log-mel picture shows


def log_mel(waveform: Waveform) -> NDArray[np.floating]:
    """Loudness (bands, frames) in dB below the loudest."""
    power = np.maximum(mel_power(waveform), SILENT)
    return np.maximum(10 * np.log10(power / power.max()), -LOUDNESS_RANGE)


def mel_power(waveform: Waveform) -> NDArray[np.floating]:
    """The power (bands, frames) of a waveform (time,) at 16 kHz.

    The same as librosa's, whose import takes seconds.
    """
    from transformers.audio_utils import mel_filter_bank

    frames = sliding_window_view(np.pad(waveform, FFT // 2), FFT)[::HOP]
    spectrum = np.fft.rfft(frames * np.hanning(FFT + 1)[:-1])
    filters = mel_filter_bank(
        FFT // 2 + 1, BANDS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return filters.T @ (np.abs(spectrum) ** 2).T
