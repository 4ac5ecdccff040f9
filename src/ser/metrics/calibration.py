"""Calibration: whether predictions with a probability of 0.8 are right in 80% of cases."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import rankdata

LOWEST, HIGHEST = 0.25, 64.0  # temperatures; 1 is a point of their grid
GRID = np.exp(np.linspace(-1, 1, 121) * np.log(HIGHEST))
GRID = GRID[GRID >= LOWEST - 1e-9]
FOLDS = 10  # of utterances, if speakers are unknown
BINS = 15  # of equal width, as in Guo et al. (2017)
PIECE = 20_000  # utterances at a time, so that memory stays small


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature and how it was chosen.

    `temperature` is 1 unless another one lowers the log loss on held-out utterances. `log_loss` is
    the mean of the validation part without a temperature, `held_out_log_loss` with temperatures
    that were fitted on the other folds; `by` says whether a fold is a `speaker` or `utterances`.
    """

    temperature: float
    log_loss: float
    held_out_log_loss: float
    folds: int
    by: str
    errors: int

    @property
    def kept(self) -> bool:
        return self.temperature != 1.0


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> TemperatureFit:
    """Fit the temperature by which logits (utterances, classes) are divided.

    It minimises the log loss for labels (utterances,) and changes no decision: temperature
    scaling, Guo et al. (2017), "On calibration of modern neural networks". Use the validation part.
    The temperature stays 1 if a fitted one does not lower the log loss in cross-validation: by
    `groups` (utterances,), which are speakers, or by folds of utterances if there are fewer than
    two groups. It also stays 1 without any error, because such a part says nothing about the
    confidence of errors. Raises ValueError if a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("a temperature cannot be fitted to logits that are not finite")
    speakers = groups is not None and len(set(groups.tolist())) > 1
    members = groups if groups is not None and speakers else np.arange(len(labels)) % FOLDS
    names, folds = np.unique(members, return_inverse=True)
    sums = sum_losses(logits, labels, folds, GRID)  # (temperatures, folds)
    rest = sums.sum(axis=1, keepdims=True) - sums
    chosen = sums[rest.argmin(axis=0), np.arange(len(names))].sum() / len(labels)
    plain = sums[np.abs(GRID - 1).argmin()].sum() / len(labels)
    errors = int((logits.argmax(axis=1) != labels).sum())
    better = len(names) > 1 and errors > 0 and chosen < plain
    return TemperatureFit(
        temperature=refine(logits, labels, sums.sum(axis=1)) if better else 1.0,
        log_loss=float(plain),
        held_out_log_loss=float(chosen),
        folds=len(names),
        by="speaker" if speakers else "utterances",
        errors=errors,
    )


def sum_losses(
    logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, temperatures: np.ndarray
) -> np.ndarray:
    """The summed log loss (temperatures, folds) of each fold at each temperature."""
    sums = np.zeros((len(temperatures), folds.max() + 1))
    for start in range(0, len(labels), PIECE):
        rows = slice(start, start + PIECE)
        scaled, members = logits[rows].astype(np.float64), folds[rows]
        true = np.take_along_axis(scaled, labels[rows, None], axis=1)[:, 0]
        for place, temperature in enumerate(temperatures):
            losses = logsumexp(scaled / temperature, axis=1) - true / temperature
            sums[place] += np.bincount(members, weights=losses, minlength=sums.shape[1])
    return sums


def refine(logits: np.ndarray, labels: np.ndarray, losses: np.ndarray) -> float:
    """The best temperature between the neighbours of the best one of the grid."""
    best, together = int(losses.argmin()), np.zeros(len(labels), int)
    low, high = GRID[max(best - 1, 0)], GRID[min(best + 1, len(GRID) - 1)]

    def loss(temperature: float) -> float:
        return float(sum_losses(logits, labels, together, np.array([temperature]))[0, 0])

    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"maxiter": 20})
    return float(found.x)


@dataclass(frozen=True)
class ProbabilityScores:
    """Scores of the probabilities, beyond those of the decisions.

    `roc_auc` is the mean over the classes that occur, each against the rest, and None if only one
    occurs. `calibration_error` is the expected calibration error (ECE, 15 bins).
    """

    top2_accuracy: float
    roc_auc: float | None
    log_loss: float
    calibration_error: float


def score_probabilities(logits: np.ndarray, labels: np.ndarray) -> ProbabilityScores:
    """Score the softmax of logits, or of log-probabilities, (utterances, classes)."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    return ProbabilityScores(
        top2_accuracy=float(in_top_two(logits, labels).mean()),
        roc_auc=roc_auc(probabilities, labels),
        log_loss=float(log_losses(logits, labels).mean()),
        calibration_error=reliability(probabilities, labels).error,
    )


def in_top_two(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each label (utterances,) is among the two most probable; ties rank before it."""
    true = np.take_along_axis(logits, labels[:, None], axis=1)
    return (logits >= true).sum(axis=1) <= 2


def log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The negative logarithm of the probability of each label (utterances,)."""
    return -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]


def roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """The area under the ROC curve, one class against the rest, averaged over those that occur.

    It is the share of pairs, one of the class and one of the rest, that are in order; computed
    from ranks (Mann and Whitney, 1947), because scikit-learn's function, called for each speaker,
    would take most of the time of a report.
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
    """How often the predictions of each confidence bin are right; empty bins are left out.

    `confidence` and `accuracy` are the means of a bin, `share` is its share of the utterances, and
    `error` is the expected calibration error.
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

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(bins, weights=values, minlength=BINS)[filled] / counts[filled]

    confidences, accuracies, share = mean(confidence), mean(right), counts[filled] / len(labels)
    error = float((np.abs(confidences - accuracies) * share).sum())
    return Reliability(confidences.tolist(), accuracies.tolist(), share.tolist(), error)
