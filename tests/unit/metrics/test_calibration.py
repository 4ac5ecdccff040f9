import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss, roc_auc_score, top_k_accuracy_score
from torchmetrics.classification import MulticlassCalibrationError

from ser.metrics.calibration import (
    GRID,
    HIGHEST,
    LOWEST,
    fit_temperature,
    reliability,
    score_probabilities,
)


def draw(temperature: float, utterances: int = 20_000, seed: int = 0):
    """Logits that are calibrated once divided by `temperature`, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (utterances, 5))
    noise = generator.gumbel(size=logits.shape)  # argmax of logits + Gumbel noise ~ softmax
    return logits * temperature, (logits + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_temperature_that_was_applied_is_found(temperature):
    logits, labels = draw(temperature)
    speakers = np.arange(len(labels)) % 30
    assert fit_temperature(logits, labels).temperature == pytest.approx(temperature, rel=0.05)
    found = fit_temperature(logits, labels, speakers)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert (found.by, found.folds) == ("speaker", 30)
    assert found.held_out_log_loss < found.log_loss


def test_no_other_temperature_has_a_lower_log_loss():
    logits, labels = draw(2.0, 500)

    def loss(temperature: float) -> float:
        return log_loss(labels, np.exp(log_softmax(logits / temperature, axis=1)))

    fitted = fit_temperature(logits.astype(np.float32), labels)
    best = fitted.temperature
    assert loss(best) <= min(loss(best * 1.01), loss(best / 1.01), loss(1.0))
    assert fitted.log_loss == pytest.approx(loss(1.0))


def test_the_held_out_log_loss_is_that_of_leaving_one_speaker_out():
    """The same computed with scikit-learn, speaker by speaker, on the grid of temperatures."""
    logits, labels = draw(2.0, 200, seed=5)
    speakers = np.array(["a", "b", "c", "d"])[np.arange(200) % 4]
    total = 0.0
    for speaker in "abcd":
        own, rest = speakers == speaker, speakers != speaker
        losses = [
            log_loss(labels[rest], np.exp(log_softmax(logits[rest] / t, axis=1)), labels=range(5))
            for t in GRID
        ]
        probabilities = np.exp(log_softmax(logits[own] / GRID[np.argmin(losses)], axis=1))
        total += log_loss(labels[own], probabilities, labels=range(5), normalize=False)
    found = fit_temperature(logits, labels, speakers)
    assert found.held_out_log_loss == pytest.approx(total / 200)


def test_a_part_without_errors_has_no_temperature():
    labels = np.arange(100) % 3
    found = fit_temperature(4 * np.eye(3)[labels], labels, np.arange(100) % 5)
    assert (found.temperature, found.errors, found.kept) == (1.0, 0, False)


def test_a_temperature_that_does_not_help_other_speakers_is_not_used():
    """The confidence of one speaker is too high and that of the other too low."""
    confident, labels = draw(4.0, 2000)
    doubtful, others = draw(0.4, 2000, seed=1)
    logits, labels = np.concatenate([confident, doubtful]), np.concatenate([labels, others])
    speakers = np.repeat(["a", "b"], 2000)
    found = fit_temperature(logits, labels, speakers)
    assert found.held_out_log_loss > found.log_loss
    assert found.temperature == 1.0
    assert fit_temperature(logits, labels).kept  # utterances of the same speakers in every fold


def test_a_temperature_stays_within_bounds():
    labels = np.arange(300) % 3
    wrong = np.eye(3)[(labels + 1) % 3]
    assert fit_temperature(9 * wrong, labels).temperature == pytest.approx(HIGHEST, rel=0.1)
    mostly = np.where((np.arange(300) < 1)[:, None], 0.02 * wrong, 0.02 * np.eye(3)[labels])
    assert fit_temperature(mostly, labels).temperature == pytest.approx(LOWEST, rel=0.1)


def test_calibrated_logits_keep_a_temperature_near_one():
    assert fit_temperature(*draw(1.0)).temperature == pytest.approx(1.0, abs=0.03)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


LOGITS = np.log(
    np.array(
        [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.08, 0.62, 0.3], [0.08, 0.3, 0.62], [0.5, 0.2, 0.3]]
    )
)
LABELS = np.array([0, 0, 2, 2, 1])


def test_probability_scores_computed_by_hand():
    scores = score_probabilities(LOGITS, LABELS)
    assert scores.top2_accuracy == 4 / 5  # the label of the last one is third
    expected = -np.log([0.7, 0.4, 0.3, 0.62, 0.2]).mean()
    assert scores.log_loss == pytest.approx(expected)
    # Confidences 0.5 (right 0 of 2), 0.62 (1 of 2) and 0.7 (1 of 1) are in three bins.
    assert scores.calibration_error == pytest.approx(2 / 5 * 0.5 + 2 / 5 * 0.12 + 1 / 5 * 0.3)


@pytest.mark.parametrize("occurring", [5, 3])
def test_probability_scores_agree_with_the_libraries(occurring):
    logits, labels = draw(0.6, 800, seed=3)
    logits, labels = logits[labels < occurring], labels[labels < occurring]
    scores = score_probabilities(logits, labels)
    probabilities = np.exp(log_softmax(logits, axis=1))
    every = list(range(5))
    assert scores.log_loss == pytest.approx(log_loss(labels, probabilities, labels=every))
    top2 = top_k_accuracy_score(labels, probabilities, k=2, labels=every)
    assert scores.top2_accuracy == pytest.approx(top2)
    error = MulticlassCalibrationError(5, n_bins=15)(
        torch.from_numpy(probabilities), torch.from_numpy(labels)
    )
    assert scores.calibration_error == pytest.approx(error.item(), abs=1e-6)
    if occurring == 5:
        area = roc_auc_score(labels, probabilities, multi_class="ovr")
        assert scores.roc_auc == pytest.approx(area)


def test_the_roc_area_leaves_out_classes_that_do_not_occur():
    assert score_probabilities(LOGITS[:4], LABELS[:4]).roc_auc == pytest.approx((1 + 1) / 2)
    assert score_probabilities(LOGITS[:2], LABELS[:2]).roc_auc is None


def test_the_fitted_temperature_calibrates():
    logits, labels = draw(3.0)
    before = score_probabilities(logits, labels)
    after = score_probabilities(logits / fit_temperature(logits, labels).temperature, labels)
    assert before.calibration_error > 0.15
    assert after.calibration_error < 0.02
    assert after.top2_accuracy == before.top2_accuracy


def test_a_reliability_diagram_has_the_bins_that_occur():
    diagram = reliability(np.exp(LOGITS), LABELS)
    assert diagram.confidence == pytest.approx([0.5, 0.62, 0.7])
    assert diagram.accuracy == pytest.approx([0, 0.5, 1])
    assert diagram.share == pytest.approx([0.4, 0.4, 0.2])
