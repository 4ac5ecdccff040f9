"""Recordings in many formats, made without external tools."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from recording_formats import RATE, WITH_LIBSNDFILE, WITH_PYAV, encode, speech


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of two seconds of `speech` in the format of WITH_PYAV or WITH_LIBSNDFILE."""
    made: dict[str, bytes] = {}

    def make(name: str) -> bytes:
        narrow = "narrow" in name or "g726" in name or "gsm" in name
        rate = 8000 if narrow else 48_000 if "opus" in name else 44_100 if "flv" in name else RATE
        samples = speech(2.0, rate)
        if name in WITH_PYAV:
            return encode(samples, rate, *WITH_PYAV[name])
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, **WITH_LIBSNDFILE[name])
        return buffer.getvalue()

    def get(name: str) -> bytes:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return get


@pytest.fixture
def write_recording(recordings: Callable[[str], bytes], tmp_path: Path) -> Callable[..., Path]:
    """Write a recording by that name, or under another one."""

    def write(name: str, to: str = "") -> Path:
        path = tmp_path / (to or name)
        path.write_bytes(recordings(name))
        return path

    return write
