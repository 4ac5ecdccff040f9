"""Scores after adaptation to the evaluated speakers, without their labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser.config.model import Standardize
from ser.evaluation.predict import WindowFeatures, WindowLogits
from ser.inference.predictor import Predictor
from ser.metrics.scores import score
from ser.metrics.summary import GroupMetrics, Predictions, summarize
from ser.models.standardization import Standardization, Statistics

CLIPS = (1, 2, 5, 10, 20)
DRAWS = 5  # random choices of clips per point of the curve
SEED = 0


@dataclass(frozen=True)
class CurvePoint:
    """The UAR after adaptation to some clips per group: mean, lowest and highest over the draws.

    `clips` is None for all clips of each group.
    """

    clips: int | None
    uar: float
    low: float
    high: float


@dataclass(frozen=True)
class Adaptation:
    """Scores after adaptation, and how many clips it takes.

    The model is adapted to each speaker, or corpus (`by`), with its unlabelled clips: all of them
    for `overall`, randomly drawn ones for `curve`. Scores are always over all utterances, including
    those adapted to. `clips` are the fewest, the median and the most clips of a group. Utterances
    of unknown speakers (`unknown`) are predicted without adaptation.
    """

    by: str
    groups: int
    unknown: int
    clips: tuple[int, int, int]
    plain: float
    overall: GroupMetrics
    curve: list[CurvePoint]
    draws: int = DRAWS


def measure_adaptation(
    predictor: Predictor, windows: WindowFeatures, predictions: Predictions, by: Standardize
) -> Adaptation | None:
    """Compare plain predictions with adapted ones; None if no speaker is known."""
    column = "corpus" if by == Standardize.corpus else "speaker"
    names = predictions.utterances[column].to_numpy(str)
    rows = {name: np.flatnonzero(names == name) for name in sorted(set(names.tolist()) - {""})}
    if not rows:
        return None
    places = {name: windows.find(each) for name, each in rows.items()}
    run = Adapter(predictor, predictor.standardization, windows)
    sizes = np.array([len(each) for each in rows.values()])

    def predict(choose: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Predictions:
        used = {name: windows.find(choose(each)) for name, each in rows.items()}
        logits = run.classify(places, used)
        return replace(predictions, logits=logits.combine(predictions.temperature), calibrated=None)

    everything = predict(lambda each: each)
    curve = [draw(predict, clips) for clips in CLIPS if clips < sizes.max()]
    uar = find_uar(everything)
    return Adaptation(
        by=column,
        groups=len(rows),
        unknown=int((names == "").sum()),
        clips=(int(sizes.min()), int(np.median(sizes)), int(sizes.max())),
        plain=find_uar(predictions),
        overall=summarize(everything),
        curve=[*curve, CurvePoint(None, uar, uar, uar)],
    )


def draw(predict: Callable[..., Predictions], clips: int) -> CurvePoint:
    """The point of the curve for this many random clips per group, or all of smaller groups."""

    def one(number: int) -> float:
        generator = np.random.default_rng([SEED, number])  # the clips of a draw are nested
        return find_uar(predict(lambda each: generator.permutation(each)[:clips]))

    scores = [one(number) for number in range(DRAWS)]
    return CurvePoint(clips, float(np.mean(scores)), min(scores), max(scores))


def find_uar(predictions: Predictions) -> float:
    return score(predictions.labels, predictions.predictions, predictions.names).uar


@dataclass(frozen=True)
class Adapter:
    """Classifies windows with the standardisation of their group."""

    predictor: Predictor
    standardization: Standardization
    windows: WindowFeatures

    def classify(self, places: dict[str, Any], used: dict[str, Any]) -> WindowLogits:
        """Logits of all windows: those at `places` of a group, adapted to those that are `used`."""
        features = self.windows.features
        logits = self.predictor.classify(features)
        for name, rows in places.items():
            adapted = self.standardization.adapt(Statistics.of(features[used[name]]))
            logits[rows] = self.predictor.classify(features[rows], adapted)
        return WindowLogits(logits, self.windows.rows)
