"""Adapted scores, on features in which each speaker has an offset."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser.config.model import Standardize
from ser.evaluation.adaptation import measure_adaptation
from ser.evaluation.predict import WindowFeatures
from ser.metrics.summary import Predictions
from ser.models.standardization import Standardization

NAMES = ("sad", "happy")
SPEAKERS = ["a", "b", "c", ""]


class LinearPredictor:
    """The class is the sign of the first feature."""

    standardization = Standardization(np.zeros(3), np.ones(3), np.full(3, 4.0))

    def classify(self, features: np.ndarray, adapted: Standardization | None = None) -> np.ndarray:
        if adapted is not None:
            own = self.standardization
            features = adapted.apply(features) * own.scale + own.mean
        return np.stack([-features[:, 0], features[:, 0]], axis=1).astype(np.float32)


@pytest.fixture
def data() -> tuple[Any, WindowFeatures, Predictions]:
    generator = np.random.default_rng(0)
    labels, names = generator.integers(0, 2, 120), np.repeat(SPEAKERS, 30)
    rows = np.repeat(np.arange(120), 2)  # two windows each
    features = generator.normal(0, 0.3, (240, 3))
    features[:, 0] += 2 * labels[rows] - 1 + 5.0 * (names != "")[rows]
    predictor: Any = LinearPredictor()
    windows = WindowFeatures(features.astype(np.float32), rows)
    table = pd.DataFrame({"speaker": names, "emotion": np.array(NAMES)[labels]})
    table = table.assign(corpus="x", gender="", id=[str(row) for row in range(120)])
    logits = predictor.classify(windows.features)[::2]
    return predictor, windows, Predictions(table, logits, NAMES)


def measure(data: Any, by: Standardize) -> Any:
    predictor, windows, predictions = data
    return measure_adaptation(predictor, windows, predictions, by)


def test_adaptation_removes_the_offsets_of_speakers(data):
    found = measure(data, Standardize.speaker)
    assert found is not None
    assert (found.by, found.groups, found.unknown, found.clips) == ("speaker", 3, 30, (30, 30, 30))
    assert found.plain < 0.75  # all known speakers are happy
    assert found.overall.scores.uar > 0.97
    assert [point.clips for point in found.curve] == [1, 2, 5, 10, 20, None]
    assert all(point.low <= point.uar <= point.high for point in found.curve)
    assert found.curve[-1].uar == found.overall.scores.uar > found.curve[0].uar > found.plain
    assert found == measure(data, Standardize.train)  # draws are repeatable


def test_corpora_are_adapted_to_as_a_whole(data):
    found = measure(data, Standardize.corpus)
    assert found is not None
    assert (found.by, found.groups, found.clips) == ("corpus", 1, (120, 120, 120))


def test_unknown_speakers_have_no_adapted_scores(data):
    predictor, windows, predictions = data
    predictions.utterances["speaker"] = ""
    assert measure_adaptation(predictor, windows, predictions, Standardize.speaker) is None
