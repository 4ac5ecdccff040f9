import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from ser.calibration import COOLEST, HOTTEST, fit_temperature


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
