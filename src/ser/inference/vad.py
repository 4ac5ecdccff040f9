"""Voice activity detection with Silero's detector, whose package contains the model."""

from functools import cache
from threading import Lock
from typing import Any

import torch

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.errors import optional_dependency

_detecting = Lock()  # the detector keeps the state of the recording it is at


def has_speech(waveform: Waveform) -> bool:
    """Whether a waveform (time,) at 16 kHz contains at least a quarter of a second of speech.

    One thread at a time uses the detector. Raises UserError if silero-vad is not installed.
    """
    silero, model = load_detector()
    with _detecting:
        found = silero.get_speech_timestamps(
            torch.from_numpy(waveform), model, sampling_rate=SAMPLE_RATE, min_speech_duration_ms=250
        )
    return bool(found)


@cache
def load_detector() -> tuple[Any, Any]:
    """The module and the model of the detector; raises UserError if it is not installed."""
    threads = torch.get_num_threads()
    with optional_dependency("vad"):
        import silero_vad
    torch.set_num_threads(threads)  # importing silero_vad 6.2 sets it to one
    return silero_vad, silero_vad.load_silero_vad()
