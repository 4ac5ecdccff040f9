"""A trained model and recordings for the tests of the service."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.inference.predictor import Predictor

GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1" / "exported"


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """A tiny network that was trained on synthetic tones."""
    return Predictor.from_checkpoint(GOLDEN, device="cpu")


@pytest.fixture(scope="session")
def write_noise() -> Callable[..., bytes]:
    """Noise as an audio file: a distinct recording per seed."""

    def write_noise(
        seconds: float = 1.0,
        rate: int = 16_000,
        channels: int = 1,
        seed: int = 0,
        kind: str = "WAV",
    ) -> bytes:
        shape = (round(seconds * rate), channels)
        samples = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format=kind)
        return buffer.getvalue()

    return write_noise
