"""Evaluation predicts utterances as `Predictor` predicts recordings."""

import numpy as np
import pytest
from scipy.special import softmax

from ser.evaluation.predict import WindowLogits, predict_utterances

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [None, 0.4, 3.0])
def test_the_probabilities_of_an_utterance_are_the_mean_over_its_windows(temperature):
    logits = GENERATOR.normal(0, 3, (5, 4)).astype(np.float32)
    combined = WindowLogits(logits, np.array([0, 1, 1, 1, 2])).combine(temperature)
    divisor = temperature or 1.0
    windows = softmax(logits.astype(float) / divisor, axis=1)
    expected = [windows[0], windows[1:4].mean(axis=0), windows[4]]
    np.testing.assert_allclose(softmax(combined / divisor, axis=1), expected, atol=1e-7)
    np.testing.assert_allclose(combined[[0, 2]], logits[[0, 4]])  # as they are


@pytest.fixture
def waveforms() -> list[np.ndarray]:
    """Shorter and longer than a window, one with two seconds of silence inside."""
    lengths = [8_000, 100_000, 20_000, 40_000, 32_000]
    clips = [GENERATOR.normal(0, 0.1, length).astype(np.float32) for length in lengths]
    clips[1][32_000:64_000] = 0
    return clips


def test_long_recordings_are_predicted_as_by_the_predictor(tiny_predictor, waveforms):
    expected = tiny_predictor([(waveform, 16_000) for waveform in waveforms])
    windows = predict_utterances(tiny_predictor, waveforms, batch_size=2)
    logits = windows.combine(tiny_predictor.temperature)
    found = softmax(logits / tiny_predictor.temperature, axis=1)
    for row, prediction in zip(found, expected, strict=True):
        assert row == pytest.approx(list(prediction.probabilities.values()), abs=1e-5)
    assert len(expected[1].windows) == 3  # of four windows of 2 s, one is silent
    assert np.bincount(windows.rows).tolist() == [1, 3, 1, 2, 1]


def test_the_result_does_not_depend_on_the_batch_size(tiny_predictor, waveforms):
    one = predict_utterances(tiny_predictor, waveforms, batch_size=1)
    many = predict_utterances(tiny_predictor, waveforms, batch_size=64)
    np.testing.assert_allclose(one.logits, many.logits, atol=1e-4)


def test_progress_counts_utterances(tiny_predictor, waveforms):
    seen: list[int] = []
    predict_utterances(tiny_predictor, waveforms, progress=seen.append)
    assert seen[-1] == len(waveforms)


def test_a_silent_recording_has_a_prediction_too(tiny_predictor):
    windows = predict_utterances(tiny_predictor, [np.zeros(70_000, np.float32)])
    assert windows.combine().shape == (1, 3)
