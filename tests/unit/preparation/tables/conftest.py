from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path, write_tone) -> Path:
    """A folder with the recordings 0.wav to 3.wav."""
    for number in range(4):
        write_tone(tmp_path / f"{number}.wav", pitch=200 + 60 * number)
    return tmp_path
