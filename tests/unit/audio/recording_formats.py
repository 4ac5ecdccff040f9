"""Recordings in many formats, made without external tools."""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RATE = 16_000
# file name: container, codec, and options of the muxer, as PyAV names them
WITH_PYAV = {
    "aac.m4a": ("ipod", "aac", {}),
    "faststart.m4a": ("ipod", "aac", {"movflags": "faststart"}),
    "fragmented.mp4": ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "alac.m4a": ("ipod", "alac", {}),
    "pcm.mov": ("mov", "pcm_s16le", {}),
    "opus.webm": ("webm", "libopus", {}),
    "live.webm": ("webm", "libopus", {"live": "1"}),
    "flac.mka": ("matroska", "flac", {}),
    "aac.aac": ("adts", "aac", {}),
    "narrow.amr": ("amr", "libopencore_amrnb", {}),
    "narrow.3gp": ("3gp", "libopencore_amrnb", {}),
    "wma.wma": ("asf", "wmav2", {}),
    "alac.caf": ("caf", "alac", {}),
    "mp2.ts": ("mpegts", "mp2", {}),
    "mp2.mpg": ("mpeg", "mp2", {}),
    "pcm.avi": ("avi", "pcm_s16le", {}),
    "mp3.flv": ("flv", "libmp3lame", {}),
    "flac.oga": ("ogg", "flac", {}),
    "g726.wav": ("wav", "g726", {}),
}
WITH_LIBSNDFILE: dict[str, dict[str, Any]] = {
    "pcm16.wav": {"format": "WAV", "subtype": "PCM_16"},
    "pcm24.wav": {"format": "WAV", "subtype": "PCM_24"},
    "float.wav": {"format": "WAV", "subtype": "FLOAT"},
    "ulaw.wav": {"format": "WAV", "subtype": "ULAW"},
    "gsm.wav": {"format": "WAV", "subtype": "GSM610"},
    "adpcm.wav": {"format": "WAV", "subtype": "IMA_ADPCM"},
    "big.wav": {"format": "RF64", "subtype": "PCM_16"},
    "a.w64": {"format": "W64", "subtype": "PCM_16"},
    "a.aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "a.au": {"format": "AU", "subtype": "PCM_16"},
    "a.caf": {"format": "CAF", "subtype": "PCM_16"},
    "a.sph": {"format": "NIST", "subtype": "PCM_16"},
    "a.flac": {"format": "FLAC"},
    "a.mp3": {"format": "MP3"},
    "a.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
}


def speech(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Something like a voice, as floats (time,): harmonics that come and go, and a little noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = np.asarray(sum(np.sin(k * phase) / k for k in range(1, 12)))
    loudness = 0.1 + np.abs(np.sin(2 * np.pi * 1.3 * time + seed))
    return 0.12 * voice * loudness + random.normal(0, 1e-3, len(time))


def encode(samples: np.ndarray, rate: int, container: str, codec: str, options: dict) -> bytes:
    """Mono samples (time,) in a container, by PyAV."""
    av = pytest.importorskip("av")
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format=container, options=options) as output:
            stream = output.add_stream(codec, rate=rate, layout="mono")
            stream.bit_rate = 12_200 if "amr" in codec else 64_000
            size = stream.codec_context.frame_size or 1024
            for start in range(0, len(samples), size):
                output.mux(stream.encode(make_frame(samples, start, size, rate, stream.format)))
            output.mux(stream.encode(None))
        return Path(file.name).read_bytes()


def make_frame(samples: np.ndarray, start: int, size: int, rate: int, format_: Any) -> Any:
    """The samples from `start` on as a frame in the format of an encoder."""
    av = pytest.importorskip("av")
    pcm = np.rint(samples[None, start : start + size] * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
    frame.sample_rate = rate
    [frame] = av.AudioResampler(format=format_, layout="mono", rate=rate).resample(frame)
    frame.pts, frame.time_base = start, Fraction(1, rate)
    return frame
