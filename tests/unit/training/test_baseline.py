"""The acoustic baseline: features that follow pitch and loudness, and a classifier on them."""

import numpy as np
import pytest

from ser.config.baseline import Classifier, FeatureSet
from ser.training.baseline import describe, extract_all, extract_classic, fit


def tone(pitch: float, loudness: float = 0.3, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(16_000 * seconds)) / 16_000
    harmonics = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
    noise = 1e-4 * np.random.default_rng(0).normal(size=len(time))
    return (loudness * harmonics + noise).astype(np.float32)


def test_statistics_are_those_of_numpy():
    track = np.arange(10.0)[None]
    assert describe(track) == pytest.approx([4.5, track.std(), 0.9, 4.5, 8.1])


def test_features_follow_pitch_and_are_finite_for_every_length():
    low, high = extract_classic(tone(120)), extract_classic(tone(240))
    # The pitch is the last track, and the share of voiced frames the last value.
    assert high[-6] - low[-6] == pytest.approx(np.log(2), abs=0.02)
    for seconds in (0.01, 0.3, 3.0):
        values = extract_classic(tone(120, seconds=seconds))
        assert values.shape == low.shape
        assert np.isfinite(values).all()
    assert np.isfinite(extract_classic(np.zeros(16_000, np.float32))).all()


@pytest.mark.parametrize("kind", [Classifier.svm, Classifier.logistic])
def test_a_baseline_learns_and_absent_classes_are_never_predicted(kind):
    rng = np.random.default_rng(0)
    waveforms = [tone(pitch + rng.normal(0, 3), 0.2) for pitch in [110] * 9 + [160] * 9 + [230] * 9]
    labels = np.repeat([0, 2, 3], 9)
    speakers = ["abc"[i % 3] for i in range(27)]
    features = extract_all(waveforms, FeatureSet.classic, 16_000)
    baseline = fit(features, labels, speakers, kind=kind)
    logits = baseline.logits(features, 5)
    assert logits.shape == (27, 5)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    assert baseline.score > 0.8
    assert logits[:, [1, 4]].max() < logits[:, [0, 2, 3]].min()
    assert baseline.candidate.kind == kind


def test_two_classes_have_two_scores():
    features = np.random.default_rng(0).normal(size=(20, 3))
    labels = (features[:, 0] > 0).astype(int)
    baseline = fit(features, labels, ["a", "b"] * 10, kind=Classifier.logistic)
    logits = baseline.logits(features, 2)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], rtol=1e-6)
