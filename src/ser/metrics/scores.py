"""Accuracy, unweighted average recall (UAR), F1, per-class scores and the confusion matrix.

Everything is computed from confusion matrices by `scores_from_confusion`: epochs in training,
reports, single speakers and resampled speakers. Classes without utterances (CREMA-D has neither
surprise nor calm) count neither in UAR nor in macro F1. Predicting such a class still lowers the
recall of the true class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ConfusionScores:
    """Scores of stacked confusion matrices (..., classes, classes).

    `precision`, `recall`, `f1` and `support` are (..., classes), all others (...). Without any
    utterance the scores are 0.
    """

    accuracy: np.ndarray
    uar: np.ndarray
    macro_f1: np.ndarray
    weighted_f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def scores_from_confusion(confusion: np.ndarray) -> ConfusionScores:
    """Compute all scores of counts (..., classes, classes), rows true and columns predicted.

    Counts may be weighted, so they need not be integers. `uar` equals scikit-learn's balanced
    accuracy.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    recall, f1 = divide(hits, support), divide(2 * hits, support + predicted)
    occurs, total = support > 0, support.sum(axis=-1)
    classes = occurs.sum(axis=-1)
    return ConfusionScores(
        accuracy=divide(hits.sum(axis=-1), total),
        uar=divide(recall.sum(axis=-1), classes),
        macro_f1=divide((f1 * occurs).sum(axis=-1), classes),
        weighted_f1=divide((f1 * support).sum(axis=-1), total),
        precision=divide(hits, predicted),
        recall=recall,
        f1=f1,
        support=support,
    )


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, or 0 if the denominator is 0."""
    numerator = np.asarray(numerator, np.float64)
    return np.divide(
        numerator, denominator, out=np.zeros_like(numerator), where=np.asarray(denominator) > 0
    )


def count_confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix (classes, classes) of class indices (utterances,)."""
    cells = np.bincount(labels * classes + predictions, minlength=classes**2)
    return cells.reshape(classes, classes)


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; `support` counts its utterances."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """Scores of a set of predictions; `confusion[i][j]` counts label i predicted as label j.

    The SER literature calls `accuracy` weighted accuracy. `weighted_f1` is the mean F1, weighted
    by the number of utterances of each class.
    """

    utterances: int
    accuracy: float
    uar: float
    macro_f1: float
    weighted_f1: float
    classes: dict[str, ClassScores]
    confusion: list[list[int]]


def score(labels: Any, predictions: Any, names: Sequence[str]) -> Scores:
    """Score predictions against true labels, both (utterances,).

    Labels and predictions are class indices or class names, in a list, tuple, array, tensor or
    pandas Series. Raises ValueError if they are empty, differ in length, or hold anything else.
    """
    names = check_names(names)
    true, predicted = to_indices(labels, names, "labels"), to_indices(predictions, names)
    if len(true) != len(predicted):
        raise ValueError(f"there are {len(true)} labels, but {len(predicted)} predictions")
    if len(true) == 0:
        raise ValueError("there are no utterances to score")
    return build_scores(count_confusion(true, predicted, len(names)), names)


def build_scores(confusion: np.ndarray, names: Sequence[str]) -> Scores:
    """The scores of one confusion matrix (classes, classes)."""
    found = scores_from_confusion(confusion)
    rows = zip(found.precision, found.recall, found.f1, found.support, strict=True)
    return Scores(
        utterances=int(confusion.sum()),
        accuracy=float(found.accuracy),
        uar=float(found.uar),
        macro_f1=float(found.macro_f1),
        weighted_f1=float(found.weighted_f1),
        classes={
            name: ClassScores(float(precision), float(recall), float(f1), int(support))
            for name, (precision, recall, f1, support) in zip(names, rows, strict=True)
        },
        confusion=confusion.astype(int).tolist(),
    )


def check_names(names: Sequence[str]) -> list[str]:
    """Class names as strings; raises ValueError if they are not a list of different names."""
    if isinstance(names, str):
        raise ValueError(f"names={names!r} is one string; pass a list of class names")
    found = [str(name) for name in names]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"names={found} must be different class names, at least one")
    return found


def to_indices(values: Any, names: Sequence[str], what: str = "predictions") -> np.ndarray:
    """Class indices (utterances,) of indices or names in any one-dimensional container."""
    if hasattr(values, "detach"):  # a torch tensor, maybe on a GPU
        values = values.detach().cpu()
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(
            f"{what} have shape {array.shape}; pass one class per utterance (for logits or"
            " probabilities, their argmax over the classes)"
        )
    if array.dtype.kind in "OSUT":
        return names_to_indices(array, names, what)
    if array.dtype.kind not in "iufb" or not np.all(np.isfinite(array) & (array == array.round())):
        raise ValueError(f"{what} must be class indices or class names, without missing values")
    indices = array.astype(np.int64)
    outside = indices[(indices < 0) | (indices >= len(names))]
    if len(outside):
        raise ValueError(
            f"{what} hold the index {outside[0]}, but there are {len(names)} classes"
            f" (0 to {len(names) - 1})"
        )
    return indices


def names_to_indices(array: np.ndarray, names: Sequence[str], what: str) -> np.ndarray:
    """Class indices of class names; integers in an object array are indices."""
    if array.dtype == object and all(isinstance(value, int | np.integer) for value in array):
        return to_indices(array.astype(np.int64), names, what)
    places = {name: place for place, name in enumerate(names)}
    unknown = [value for value in array.tolist() if value not in places]
    if unknown:
        raise ValueError(
            f"{what} hold {unknown[0]!r}, which is not one of the classes {', '.join(names)}"
        )
    return np.array([places[value] for value in array.tolist()], np.int64)


@dataclass(frozen=True)
class Baselines:
    """Scores of predictors that ignore the audio, on the same utterances.

    `chance` guesses uniformly among the classes that occur: its expected accuracy and UAR.
    `majority` is the accuracy of always predicting the most frequent class; its UAR is `chance`.
    """

    chance: float
    majority: float
    majority_class: str


def baselines(scores: Scores) -> Baselines:
    """The baselines for the utterances of these scores."""
    support = {name: row.support for name, row in scores.classes.items() if row.support}
    most = max(support, key=lambda name: support[name])
    return Baselines(1 / len(support), support[most] / scores.utterances, most)
