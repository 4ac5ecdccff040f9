"""The most confident errors, to be listened to: audio that a page can play, and log-mel pictures.

Labels of acted corpora are not always right, and neither are listeners: this is where to look.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
import soundfile
from scipy.special import softmax

from ser.audio import SAMPLE_RATE, Waveform
from ser.cache import AudioCache
from ser.judgement import Predicted

MOST = 12
LOUDNESS_RANGE = 70  # dB that a log-mel picture shows
SECONDS = 6.0  # of audio in the page: 190 kB before base64


@dataclass(frozen=True)
class Mistake:
    """An utterance taken for another emotion with this confidence, and its 16 kHz waveform."""

    id: str
    speaker: str
    true: str
    predicted: str
    confidence: float
    waveform: Waveform


def find_mistakes(predicted: Predicted, audio: AudioCache, most: int = MOST) -> list[Mistake]:
    """The errors that the network was surest of, surest first (calibrated where it can be)."""
    probabilities = softmax(predicted.logits / (predicted.temperature or 1.0), axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted.predictions != predicted.labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    rows = predicted.utterances.iloc[chosen]
    return [
        Mistake(
            id=str(row.id),
            speaker=str(row.speaker),
            true=str(row.emotion),
            predicted=predicted.names[predicted.predictions[place]],
            confidence=float(confidence[place]),
            waveform=audio.read(str(row.content))[: round(SECONDS * SAMPLE_RATE)],
        )
        for place, row in zip(chosen, rows.itertuples(), strict=True)
    ]


def to_data_uri(waveform: Waveform) -> str:
    """A waveform (time,) at 16 kHz as a WAV file inside an address, which every browser plays."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def log_mel(waveform: Waveform) -> np.ndarray:
    """Loudness (64 bands, frames of 10 ms) in dB below the loudest, by librosa."""
    import librosa  # seconds of import at first use

    bands = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=64
    )
    return librosa.power_to_db(bands, ref=np.max, top_db=LOUDNESS_RANGE)
