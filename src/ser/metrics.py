"""Accuracy, unweighted average recall (UAR), macro F1, per-class scores, confusion matrix.

In training they accumulate over an epoch (torchmetrics); the report computes them once over all
predictions (scikit-learn). A test holds the two against each other. Classes that have no utterance
in the data count neither in UAR nor, unless something was taken for them, in macro F1.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)


class UnweightedAverageRecall(MulticlassRecall):
    """The mean of the recalls of the classes that occur, scikit-learn's balanced accuracy.

    torchmetrics' macro recall also counts a class that was only predicted, with recall 0.
    """

    def compute(self) -> torch.Tensor:
        true_positives, _, _, false_negatives = self._final_state()
        support = true_positives + false_negatives
        occurs = support > 0
        return (true_positives[occurs] / support[occurs]).mean()


def build_metrics(classes: int) -> MetricCollection:
    """Metrics over a whole epoch, updated with logits (batch, classes) and labels (batch,)."""
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "uar": UnweightedAverageRecall(classes, average="macro"),
            "macro_f1": MulticlassF1Score(classes, average="macro"),
            "precision": MulticlassPrecision(classes, average="none"),
            "recall": MulticlassRecall(classes, average="none"),
            "f1": MulticlassF1Score(classes, average="none"),
            "confusion": MulticlassConfusionMatrix(classes),
        }
    )


@dataclass(frozen=True)
class ClassScores:
    """One row of the per-class table; `support` counts the utterances of the class."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """What a set of predictions is worth; `confusion[i][j]` counts label i taken for label j."""

    utterances: int
    accuracy: float
    uar: float
    macro_f1: float
    classes: dict[str, ClassScores]
    confusion: list[list[int]]


def score(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> Scores:
    """Score predicted against true labels, both (utterances,) of class indices.

    Raises ValueError where there is nothing to score.
    """
    from sklearn.metrics import (  # a second of import that training does not need
        balanced_accuracy_score,
        confusion_matrix,
        f1_score,
        precision_recall_fscore_support,
    )

    if len(labels) == 0:
        raise ValueError("there are no utterances to score")
    indices = list(range(len(names)))
    columns = precision_recall_fscore_support(labels, predictions, labels=indices, zero_division=0)
    with warnings.catch_warnings():  # a class that was only predicted is no accident here
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        uar = float(balanced_accuracy_score(labels, predictions))
    return Scores(
        utterances=len(labels),
        accuracy=float(np.mean(labels == predictions)),
        uar=uar,
        macro_f1=float(f1_score(labels, predictions, average="macro", zero_division=0)),
        classes={
            name: ClassScores(*map(float, row[:3]), int(row[3]))
            for name, row in zip(names, np.transpose(columns), strict=True)
        },
        confusion=confusion_matrix(labels, predictions, labels=indices).tolist(),
    )
