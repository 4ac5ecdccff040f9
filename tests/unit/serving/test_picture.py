"""The log-mel picture of the demo."""

import io

import numpy as np
import pytest
from matplotlib import image

from ser.serving.picture import COLUMNS, draw_log_mel


def draw(blocks) -> np.ndarray:
    return image.imread(io.BytesIO(draw_log_mel(blocks)))[..., :3].sum(axis=2)


def tone(seconds: float, hertz: float) -> np.ndarray:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.3, 11, 13, 40])
def test_low_sounds_are_at_the_bottom(seconds):
    pixels = draw([tone(seconds, 200)])
    assert pixels.shape[0] == 64
    assert pixels[32:].mean() > 2 * pixels[:32].mean()


@pytest.mark.parametrize(("seconds", "least"), [(5, 490), (40, COLUMNS / 2), (600, COLUMNS / 2)])
def test_a_picture_is_wide_enough_and_never_too_wide(seconds, least):
    pixels = draw(tone(5, 300) for _ in range(seconds // 5))
    assert least <= pixels.shape[1] <= COLUMNS


def test_a_sound_is_at_its_time():
    blocks = [np.zeros(16_000 * 7, np.float32), tone(7, 1000), np.zeros(16_000 * 14, np.float32)]
    loudness = draw(blocks).sum(axis=0)
    loud = np.flatnonzero(loudness > (loudness.min() + loudness.max()) / 2) / len(loudness) * 28
    assert loud.min() == pytest.approx(7, abs=0.2)
    assert loud.max() == pytest.approx(14, abs=0.2)


def test_silence_can_be_drawn():
    assert draw([np.zeros(16_000, np.float32)]).shape[0] == 64
