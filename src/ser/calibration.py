"""Whether a probability of 0.8 means right eight times in ten, and what makes it so."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

COOLEST, HOTTEST = 0.05, 20.0  # a part without a mistake would ask for a temperature of nothing
BINS = 15  # of equal width, as in Guo et al. (2017)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that logits (utterances, classes) are divided by to fit labels (utterances,).

    It has the least log loss and changes no decision: temperature scaling, Guo et al. (2017), "On
    calibration of modern neural networks". Fit it on the validation part. Raises ValueError where
    a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("a temperature cannot be fitted to logits that are not finite")
    rows, logits = np.arange(len(labels)), logits.astype(np.float64)

    def log_loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    bounds = (np.log(COOLEST), np.log(HOTTEST))
    fitted = minimize_scalar(log_loss, bounds=bounds, method="bounded")
    return float(np.exp(fitted.x))


@dataclass(frozen=True)
class ProbabilityScores:
    """What the probabilities are worth, beside the decisions.

    `roc_auc` is the mean over the classes that occur, each against the rest; None where only one
    occurs. `calibration_error` is the expected one (ECE, 15 bins).
    """

    top2_accuracy: float
    roc_auc: float | None
    log_loss: float
    calibration_error: float


def score_probabilities(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> ProbabilityScores:
    """Score the softmax of logits (utterances, classes) over a temperature."""
    scaled = logits.astype(np.float64) / temperature
    probabilities = softmax(scaled, axis=1)
    return ProbabilityScores(
        top2_accuracy=float(in_top_two(logits, labels).mean()),
        roc_auc=roc_auc(probabilities, labels),
        log_loss=float(log_losses(scaled, labels).mean()),
        calibration_error=reliability(probabilities, labels).error,
    )


def in_top_two(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each label (utterances,) is among the two classes held likeliest; ties lose."""
    true = np.take_along_axis(logits, labels[:, None], axis=1)
    return (logits >= true).sum(axis=1) <= 2


def log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The negative logarithm of the probability of each label (utterances,)."""
    return -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]


def roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """The area under the ROC curve, one class against the rest, as a mean over those that occur.

    It is the share of pairs of one of the class and one of the rest that are in order, from ranks
    (Mann and Whitney, 1947): for each speaker, scikit-learn's would take most of a report's time.
    """
    occurring, counts = np.unique(labels, return_counts=True)
    if len(occurring) < 2:
        return None
    ranks = rankdata(probabilities[:, occurring], axis=0)  # (utterances, classes that occur)
    sums = np.where(labels[:, None] == occurring, ranks, 0).sum(axis=0)
    pairs = counts * (len(labels) - counts)
    return float(np.mean((sums - counts * (counts + 1) / 2) / pairs))


@dataclass(frozen=True)
class Reliability:
    """How often the predictions of each confidence bin are right; bins without any are left out.

    `confidence` and `accuracy` are means in the bin, `share` is its share of the utterances, and
    `error` the expected calibration error.
    """

    confidence: list[float]
    accuracy: list[float]
    share: list[float]
    error: float


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> Reliability:
    """The reliability diagram of probabilities (utterances, classes) for labels (utterances,)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    means = [
        np.bincount(bins, weights=values, minlength=BINS)[filled] / counts[filled]
        for values in (confidence, right)
    ]
    share = counts[filled] / len(labels)
    error = float((np.abs(means[0] - means[1]) * share).sum())
    return Reliability(means[0].tolist(), means[1].tolist(), share.tolist(), error)
