"""Scores under perturbations of the recordings."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ser.audio.cache import Recordings
from ser.audio.recording import Waveform
from ser.evaluation.perturbations import PERTURBATIONS
from ser.metrics.scores import score
from ser.system.progress import progress_bar

MOST_UTTERANCES = 2000  # a larger part is sampled


@dataclass(frozen=True)
class PerturbedRecordings:
    """Waveforms by row, changed by a perturbation of some level when they are read."""

    recordings: Recordings
    name: str
    level: float
    seed: int = 0

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, row: int) -> Waveform:
        content = int(self.recordings.clips[row].content[:15], 16)
        generator = np.random.default_rng([self.seed, content])
        return PERTURBATIONS[self.name].perturb(self.recordings[row], self.level, generator)


@dataclass(frozen=True)
class Point:
    """The scores under one perturbation at one level."""

    level: float
    uar: float
    accuracy: float


@dataclass(frozen=True)
class Robustness:
    """The scores of `utterances` without perturbation, and by perturbation and level."""

    utterances: int
    undisturbed: Point
    curves: dict[str, list[Point]]

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def measure_robustness(
    predict: Callable[[Recordings | PerturbedRecordings], np.ndarray],
    recordings: Recordings,
    labels: np.ndarray,
    names: Sequence[str],
) -> Robustness:
    """Scores of `predict`, which maps recordings to predicted labels (utterances,)."""

    def point(name: str | None, level: float) -> Point:
        changed = recordings if name is None else PerturbedRecordings(recordings, name, level)
        scores = score(labels, predict(changed), names)
        progress.advance(task)
        return Point(level, scores.uar, scores.accuracy)

    with progress_bar() as progress:
        total = 1 + sum(len(each.levels) for each in PERTURBATIONS.values())
        task = progress.add_task("Measuring robustness", total=total)
        return Robustness(
            utterances=len(labels),
            undisturbed=point(None, 0.0),
            curves={
                name: [point(name, level) for level in perturbation.levels]
                for name, perturbation in PERTURBATIONS.items()
            },
        )
