"""Whether anybody speaks: Silero's voice activity detector, which ships with its package."""

from functools import cache
from typing import Any

import torch

from ser.audio import SAMPLE_RATE, Waveform


def has_speech(waveform: Waveform) -> bool:
    """Whether at least a quarter of a second of a waveform (time,) at 16 kHz is speech.

    Raises OSError where silero-vad is not installed.
    """
    silero, model = load_detector()
    found = silero.get_speech_timestamps(
        torch.from_numpy(waveform), model, sampling_rate=SAMPLE_RATE, min_speech_duration_ms=250
    )
    return bool(found)


@cache
def load_detector() -> tuple[Any, Any]:
    threads = torch.get_num_threads()
    try:
        import silero_vad
    except ImportError as error:
        raise OSError("voice activity detection needs `pip install 'ser[vad]'`") from error
    torch.set_num_threads(threads)  # importing silero_vad 6.2 sets it to one for everybody
    return silero_vad, silero_vad.load_silero_vad()
