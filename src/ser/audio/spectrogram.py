"""Log-mel spectrograms for figures."""

import numpy as np

from ser.audio.recording import SAMPLE_RATE, Waveform

LOUDNESS_RANGE = 70  # dB that a log-mel picture shows


def log_mel(waveform: Waveform) -> np.ndarray:
    """Loudness (64 bands, frames of 10 ms) in dB below the loudest, by librosa."""
    import librosa  # seconds of import at first use

    bands = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=64
    )
    return librosa.power_to_db(bands, ref=np.max, top_db=LOUDNESS_RANGE)
