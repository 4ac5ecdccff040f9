"""Selective prediction: error rates if the model abstains on its least confident predictions."""

from dataclasses import dataclass

import numpy as np

POINTS = 200  # of a curve; a figure does not show more


@dataclass(frozen=True)
class RiskCoverage:
    """The error rate (risk) among the most confident predictions, by their share (coverage).

    Both are (points,), by increasing coverage; the last one covers everything. `area` is the mean
    risk over all coverages (AURC; Geifman and El-Yaniv, 2017, "Selective classification for deep
    neural networks"): lower is better.
    """

    coverage: list[float]
    risk: list[float]
    area: float

    def risk_at(self, coverage: float) -> float:
        """The risk at the smallest coverage of the curve that is at least `coverage`."""
        place = int(np.searchsorted(self.coverage, coverage - 1e-9))
        return self.risk[min(place, len(self.risk) - 1)]


def rank(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Thresholds, coverages and risks (levels,), from the most confident on; ties are one level."""
    order = np.argsort(-confidence, kind="stable")
    levels = confidence[order]
    errors = np.cumsum(~right[order].astype(bool))
    last = np.append(np.flatnonzero(np.diff(levels)), len(levels) - 1)
    return levels[last], (last + 1) / len(levels), errors[last] / (last + 1)


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """The curve for predictions with this confidence (utterances,), `right` or not.

    Raises ValueError without predictions.
    """
    if len(confidence) == 0:
        raise ValueError("there are no predictions")
    _, coverage, risk = rank(confidence, right)
    area = float(np.sum(risk * np.diff(coverage, prepend=0.0)))
    places = np.unique(np.linspace(0, len(coverage) - 1, POINTS).round().astype(int))
    return RiskCoverage(coverage[places].tolist(), risk[places].tolist(), area)


def choose_threshold(confidence: np.ndarray, right: np.ndarray, max_error: float) -> float | None:
    """The least confidence of accepted predictions, if at most `max_error` of them may be wrong.

    Choose it on the validation part, with calibrated confidences (utterances,). None if no
    threshold reaches the error rate. Raises ValueError without predictions.
    """
    if len(confidence) == 0:
        raise ValueError("there are no predictions")
    levels, _, risk = rank(confidence, right)
    enough = np.flatnonzero(risk <= max_error)
    return float(levels[enough[-1]]) if len(enough) else None
