import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss, roc_auc_score, top_k_accuracy_score
from torchmetrics.classification import MulticlassCalibrationError

from ser.calibration import (
    COOLEST,
    HOTTEST,
    fit_temperature,
    reliability,
    score_probabilities,
)


def draw(temperature: float, utterances: int = 20_000, seed: int = 0):
    """Logits that are right once divided by `temperature`, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (utterances, 5))
    noise = generator.gumbel(size=logits.shape)  # argmax of logits + Gumbel noise ~ softmax
    return logits * temperature, (logits + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_logits_were_spoilt_by_is_found(temperature):
    assert fit_temperature(*draw(temperature)) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_lower_log_loss():
    logits, labels = draw(2.0, 500)

    def loss(temperature: float) -> float:
        return log_loss(labels, np.exp(log_softmax(logits / temperature, axis=1)))

    fitted = fit_temperature(logits.astype(np.float32), labels)
    assert loss(fitted) <= min(loss(fitted * 1.01), loss(fitted / 1.01), loss(1.0))


def test_a_part_without_mistakes_or_without_sense_stays_within_bounds():
    labels = np.array([0, 1, 2, 0])
    right = np.eye(3)[labels]
    assert fit_temperature(right, labels) == pytest.approx(COOLEST, rel=0.01)
    assert fit_temperature(-right, labels) == pytest.approx(HOTTEST, rel=0.01)


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
    assert scores.top2_accuracy == 4 / 5  # the last has its label third
    expected = -np.log([0.7, 0.4, 0.3, 0.62, 0.2]).mean()
    assert scores.log_loss == pytest.approx(expected)
    # Confidences 0.5 (right 0 of 2), 0.62 (1 of 2) and 0.7 (1 of 1) fall into three bins.
    assert scores.calibration_error == pytest.approx(2 / 5 * 0.5 + 2 / 5 * 0.12 + 1 / 5 * 0.3)


@pytest.mark.parametrize("occurring", [5, 3])
def test_probability_scores_agree_with_the_libraries(occurring):
    logits, labels = draw(0.6, 800, seed=3)
    logits, labels = logits[labels < occurring], labels[labels < occurring]
    scores = score_probabilities(logits, labels, 1.5)
    probabilities = np.exp(log_softmax(logits / 1.5, axis=1))
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


def test_classes_that_do_not_occur_are_in_no_area_and_one_class_has_none():
    assert score_probabilities(LOGITS[:4], LABELS[:4]).roc_auc == pytest.approx((1 + 1) / 2)
    assert score_probabilities(LOGITS[:2], LABELS[:2]).roc_auc is None


def test_the_right_temperature_calibrates():
    logits, labels = draw(3.0)
    before = score_probabilities(logits, labels)
    after = score_probabilities(logits, labels, fit_temperature(logits, labels))
    assert before.calibration_error > 0.15
    assert after.calibration_error < 0.02
    assert after.top2_accuracy == before.top2_accuracy


def test_a_reliability_diagram_has_the_bins_that_occur():
    diagram = reliability(np.exp(LOGITS), LABELS)
    assert diagram.confidence == pytest.approx([0.5, 0.62, 0.7])
    assert diagram.accuracy == pytest.approx([0, 0.5, 1])
    assert diagram.share == pytest.approx([0.4, 0.4, 0.2])
