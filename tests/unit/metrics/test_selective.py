import numpy as np
import pytest

from ser.metrics.selective import choose_threshold, risk_coverage

CONFIDENCE = np.array([0.9, 0.8, 0.8, 0.6, 0.5])
RIGHT = np.array([True, True, False, False, True])


def test_the_curve_by_hand():
    curve = risk_coverage(CONFIDENCE, RIGHT)
    assert curve.coverage == pytest.approx([0.2, 0.6, 0.8, 1.0])  # the two with 0.8 are one level
    assert curve.risk == pytest.approx([0, 1 / 3, 2 / 4, 2 / 5])
    assert curve.area == pytest.approx(0.2 * 0 + 0.4 / 3 + 0.2 / 2 + 0.2 * 0.4)
    assert curve.risk_at(0.5) == pytest.approx(1 / 3)
    assert curve.risk_at(1.0) == pytest.approx(0.4)


def test_a_long_curve_is_thinned_and_keeps_its_end():
    generator = np.random.default_rng(0)
    confidence = generator.random(5000)
    right = generator.random(5000) < confidence
    curve = risk_coverage(confidence, right)
    assert len(curve.coverage) == 200
    assert curve.risk[-1] == pytest.approx(1 - right.mean())
    order = np.argsort(-confidence)
    assert curve.area == pytest.approx(np.mean(np.cumsum(~right[order]) / np.arange(1, 5001)))


@pytest.mark.parametrize(
    ("max_error", "confidence", "coverage"), [(0.0, 0.9, 0.2), (0.35, 0.8, 0.6), (0.4, 0.5, 1.0)]
)
def test_the_threshold_accepts_as_many_as_the_error_rate_allows(max_error, confidence, coverage):
    assert choose_threshold(CONFIDENCE, RIGHT, max_error) == confidence
    accepted = confidence <= CONFIDENCE
    assert accepted.mean() == pytest.approx(coverage)
    assert 1 - RIGHT[accepted].mean() <= max_error


def test_an_error_rate_that_cannot_be_reached_has_no_threshold():
    assert choose_threshold(CONFIDENCE, ~RIGHT, 0.0) is None


def test_nothing_to_rank_is_an_error():
    with pytest.raises(ValueError, match="no predictions"):
        risk_coverage(np.array([]), np.array([], bool))
    with pytest.raises(ValueError, match="no predictions"):
        choose_threshold(np.array([]), np.array([], bool), 0.1)
