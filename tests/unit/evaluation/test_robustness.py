"""Scores under perturbations."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser.audio.cache import AudioCache, Recordings
from ser.evaluation import evaluate
from ser.evaluation.perturbations import PERTURBATIONS
from ser.evaluation.predict import WindowLogits
from ser.evaluation.robustness import PerturbedRecordings, measure_robustness
from ser.metrics.summary import Predictions


@pytest.fixture
def recordings(tmp_path, write_tone) -> Recordings:
    """Four tones of different pitch."""
    paths = [str(write_tone(tmp_path / f"{n}.wav", 200 + 50 * n)) for n in range(4)]
    cache = AudioCache(tmp_path / "cache")
    added = cache.add(pd.DataFrame({"path": paths, "start": 0.0, "end": 0.0}))
    return cache.recordings(added["content"].tolist())


def test_every_level_of_every_perturbation_is_scored(recordings):
    labels = np.array([0, 1, 0, 1])

    def predict(waveforms: Recordings | PerturbedRecordings) -> np.ndarray:
        """Wrong for strong noise, right otherwise."""
        changed = isinstance(waveforms, PerturbedRecordings)
        wrong = changed and waveforms.name == "noise" and waveforms.level <= 5
        return 1 - labels if wrong else labels

    found = measure_robustness(predict, recordings, labels, ("sad", "calm"))
    assert (found.utterances, found.undisturbed.uar) == (4, 1)
    assert [point.uar for point in found.curves["noise"]] == [1, 1, 1, 0, 0]
    for name, perturbation in PERTURBATIONS.items():
        assert [point.level for point in found.curves[name]] == list(perturbation.levels)
    plain = found.to_plain()
    assert json.loads(json.dumps(plain)) == plain


def test_scores_are_of_calibrated_decisions_as_in_the_report(monkeypatch):
    """Over several windows the decision depends on the temperature."""
    logits = np.array([[4, 0], [0, 1], [0, 1]], np.float32)
    windows = WindowLogits(logits, np.zeros(3, np.int64))
    monkeypatch.setattr(evaluate, "predict_utterances", lambda *_: windows)
    table = pd.DataFrame({"emotion": ["calm"], "content": ["a"]})
    cache: Any = SimpleNamespace(recordings=lambda contents: contents)
    accuracies = {}
    for temperature in (0.3, 1.0):
        combined = windows.combine(temperature)
        predictions = Predictions(table, combined, ("sad", "calm"), temperature)
        predictor: Any = None
        found = evaluate.evaluate_robustness(predictor, predictions, cache, 4).undisturbed
        accuracies[temperature] = found.accuracy
        assert found.accuracy == (predictions.predictions == predictions.labels).mean()
    assert accuracies == {0.3: 1, 1.0: 0}


def test_a_perturbed_recording_depends_on_seed_and_content_only(recordings):
    first = PerturbedRecordings(recordings, "noise", 10)
    again = PerturbedRecordings(recordings.part(2, 4), "noise", 10)
    np.testing.assert_array_equal(first[3], again[1])
    other = PerturbedRecordings(recordings, "noise", 10, seed=1)
    assert not np.array_equal(first[0], other[0])
    assert len(first) == 4
