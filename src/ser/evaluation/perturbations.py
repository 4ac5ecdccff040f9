"""Perturbations that recordings outside a studio suffer: noise, bands, rooms, levels, cuts.

Each has a level. A waveform receives the same random numbers every time, from the seed and its
own content. Filters and convolution are those of scipy, because augmentation libraries draw from
Python's global generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from ser.audio.recording import SAMPLE_RATE, Waveform

Perturb = Callable[[Waveform, float, np.random.Generator], Waveform]


def add_noise(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """White noise at a signal-to-noise ratio in dB over the whole waveform (time,)."""
    noise = generator.standard_normal(len(waveform))
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    scale = np.sqrt(power / 10 ** (level / 10) / np.mean(noise**2))
    return (waveform + scale * noise).astype(np.float32)


def limit_band(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """A band from 300 Hz to a frequency in Hz; to 3,400 Hz is a telephone (ITU-T G.712)."""
    del generator
    sections = butter(4, (300, level), "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, waveform), np.float32)


def reverberate(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """A room in which sound decays by 60 dB in `level` seconds (decaying noise: Polack, 1988).

    In a given room the energy of the reverberation grows with that time (Sabine). At one second
    it equals the energy of the direct sound.
    """
    time = np.arange(round(level * SAMPLE_RATE)) / SAMPLE_RATE
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / level)
    tail *= np.sqrt(level / np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(waveform, tail)[: len(waveform)], np.float32)


def amplify(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """A gain in dB before a 16-bit recorder: clipped at full scale, rounded to its steps."""
    del generator
    steps = np.round(waveform * np.float32(10 ** (level / 20) * 32768))
    return (np.clip(steps, -32768, 32767) / 32768).astype(np.float32)


def cut(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """The middle of the waveform, in seconds."""
    del generator
    samples = round(level * SAMPLE_RATE)
    start = max(0, (len(waveform) - samples) // 2)
    return waveform[start : start + samples]


@dataclass(frozen=True)
class Perturbation:
    """A kind of change and its levels, from mild to strong."""

    title: str
    unit: str
    perturb: Perturb
    levels: tuple[float, ...]


PERTURBATIONS = {
    "noise": Perturbation("White noise", "dB SNR", add_noise, (30, 20, 10, 5, 0)),
    "band": Perturbation("Band from 300 Hz", "Hz", limit_band, (6000, 3400, 2000, 1000)),
    "reverberation": Perturbation("Reverberation", "s RT60", reverberate, (0.2, 0.5, 1.0, 2.0)),
    "loud": Perturbation("Too loud, clipped", "dB", amplify, (10, 20, 30)),
    "quiet": Perturbation("Too quiet, 16 bit", "dB", amplify, (-20, -40, -60)),
    "length": Perturbation("Middle of the clip", "s", cut, (2.0, 1.5, 1.0, 0.75, 0.5)),
}
