"""How a model bears what recordings outside a studio suffer: noise, bands, rooms, levels, cuts.

Each disturbance has a level; each waveform gets the same random numbers every time, by the seed
and its own content. Filters and convolution are scipy's: the augmentation libraries draw from
Python's global generator.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.signal import butter, fftconvolve, sosfilt

from ser import metrics
from ser.audio import SAMPLE_RATE, Waveform
from ser.cache import AudioCache, Recordings
from ser.figures import Curve, draw_curves
from ser.page import Grid, percent
from ser.progress import progress_bar

EXAMINED = 2000  # utterances at most: a seeded sample of a larger part
Disturb = Callable[[Waveform, float, np.random.Generator], Waveform]


def add_noise(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """White noise at a signal-to-noise ratio in dB over the whole waveform (time,)."""
    noise = generator.standard_normal(len(waveform))
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    scale = np.sqrt(power / 10 ** (level / 10) / np.mean(noise**2))
    return (waveform + scale * noise).astype(np.float32)


def limit_band(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """Nothing below 300 Hz or above a frequency in Hz; to 3,400 is a telephone (ITU-T G.712)."""
    del generator
    sections = butter(4, (300, level), "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, waveform), np.float32)


def reverberate(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """A room whose sound falls by 60 dB in so many seconds (noise that decays: Polack, 1988).

    In a given room the energy of the reverberation grows with that time (Sabine); at one second
    it is that of the direct sound.
    """
    time = np.arange(round(level * SAMPLE_RATE)) / SAMPLE_RATE
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / level)
    tail *= np.sqrt(level / np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(waveform, tail)[: len(waveform)], np.float32)


def amplify(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """A gain in dB into a 16-bit recorder: clipped at full scale, rounded to its steps."""
    del generator
    steps = np.round(waveform * np.float32(10 ** (level / 20) * 32768))
    return (np.clip(steps, -32768, 32767) / 32768).astype(np.float32)


def cut(waveform: Waveform, level: float, generator: np.random.Generator) -> Waveform:
    """So many seconds from the middle."""
    del generator
    samples = round(level * SAMPLE_RATE)
    start = max(0, (len(waveform) - samples) // 2)
    return waveform[start : start + samples]


@dataclass(frozen=True)
class Disturbance:
    """What is done at which levels, from mild to strong."""

    title: str
    unit: str
    disturb: Disturb
    levels: tuple[float, ...]


DISTURBANCES = {
    "noise": Disturbance("White noise", "dB SNR", add_noise, (30, 20, 10, 5, 0)),
    "band": Disturbance("Band from 300 Hz", "Hz", limit_band, (6000, 3400, 2000, 1000)),
    "reverberation": Disturbance("Reverberation", "s RT60", reverberate, (0.2, 0.5, 1.0, 2.0)),
    "loud": Disturbance("Too loud, clipped", "dB", amplify, (10, 20, 30)),
    "quiet": Disturbance("Too quiet, 16 bit", "dB", amplify, (-20, -40, -60)),
    "length": Disturbance("Middle of the clip", "s", cut, (2.0, 1.5, 1.0, 0.75, 0.5)),
}


class DisturbedAudio:
    """Gives recordings as an AudioCache does, each disturbed."""

    def __init__(self, audio: AudioCache, name: str, level: float, seed: int) -> None:
        self.audio, self.name, self.level, self.seed = audio, name, level, seed

    def recordings(self, contents: Sequence[str]) -> "DisturbedRecordings":
        return DisturbedRecordings(self.audio.recordings(contents), list(contents), self)


@dataclass(frozen=True)
class DisturbedRecordings:
    """Waveforms by row, disturbed when they are read."""

    recordings: Recordings
    contents: list[str]
    how: DisturbedAudio

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, row: int) -> Waveform:
        generator = np.random.default_rng([self.how.seed, int(self.contents[row][:15], 16)])
        disturb = DISTURBANCES[self.how.name].disturb
        return disturb(self.recordings[row], self.how.level, generator)


@dataclass(frozen=True)
class Point:
    """The scores under one disturbance at one level."""

    level: float
    uar: float
    accuracy: float


@dataclass(frozen=True)
class Robustness:
    """The scores of `utterances` undisturbed, and by disturbance along its levels."""

    utterances: int
    undisturbed: Point
    curves: dict[str, list[Point]]

    def describe(self) -> str:
        return (
            f"{self.utterances:,} utterances, undisturbed at the left of each panel, and more"
            " disturbed to the right. Waveforms are normalised before the network hears them, so a"
            " level harms by clipping and rounding only."
        )

    def tabulate(self) -> Grid:
        rows = [["none", "", percent(self.undisturbed.uar), percent(self.undisturbed.accuracy)]]
        for name, points in self.curves.items():
            disturbance = DISTURBANCES[name]
            for point in points:
                level = f"{point.level:g} {disturbance.unit}"
                scores = (percent(point.uar), percent(point.accuracy))
                rows.append([disturbance.title, level, *scores])
        return Grid(["disturbance", "level", "UAR", "accuracy"], rows)

    def draw(self) -> Figure:
        """UAR and accuracy along the levels of each disturbance, from none to the strongest."""
        panels: dict[str, dict[str, Curve]] = {}
        for name, points in self.curves.items():
            along = [self.undisturbed, *points]
            places = list(range(len(along)))
            panels[f"{DISTURBANCES[name].title} ({DISTURBANCES[name].unit})"] = {
                "UAR": (places, [point.uar for point in along]),
                "accuracy": (places, [point.accuracy for point in along]),
            }
        figure = draw_curves(panels, "")
        for axes, points in zip(figure.axes, self.curves.values(), strict=False):
            levels = ["none", *(f"{point.level:g}" for point in points)]
            axes.set_xticks(range(len(levels)), levels)
            axes.set_ylim(0, 1.02)
        return figure

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    predict: Callable[[str | None, float], np.ndarray], labels: np.ndarray, names: Sequence[str]
) -> Robustness:
    """The scores of what `predict(disturbance, level)` gives: logits (utterances, classes)."""

    def score(name: str | None, level: float) -> Point:
        decisions = predict(name, level).argmax(axis=1)
        scores = metrics.score(labels, decisions, names)
        progress.advance(task)
        return Point(level, scores.uar, scores.accuracy)

    with progress_bar() as progress:
        total = 1 + sum(len(each.levels) for each in DISTURBANCES.values())
        task = progress.add_task("Disturbing", total=total)
        return Robustness(
            utterances=len(labels),
            undisturbed=score(None, 0.0),
            curves={
                name: [score(name, level) for level in disturbance.levels]
                for name, disturbance in DISTURBANCES.items()
            },
        )
