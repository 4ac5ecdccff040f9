"""Accuracy, unweighted average recall (UAR), F1, per-class scores, confusion matrix.

In training they accumulate over an epoch (torchmetrics); the report computes them once over all
predictions (scikit-learn). A test holds the two against each other. Classes that have no utterance
in the data (CREMA-D knows no surprise and no calm) count neither in UAR nor in macro F1; taking an
utterance for one of them costs its own class recall.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    torchmetrics' macro averages also count a class that was only predicted, with a score of 0.
    """

    def compute(self) -> torch.Tensor:
        hits, _, _, misses = self._final_state()
        occurs = hits + misses > 0
        return (hits[occurs] / (hits + misses)[occurs]).mean()


class MacroF1(MulticlassF1Score):
    """The mean of the F1 scores of the classes that occur."""

    def compute(self) -> torch.Tensor:
        hits, false_alarms, _, misses = self._final_state()
        occurs = hits + misses > 0
        return (2 * hits / (2 * hits + false_alarms + misses))[occurs].mean()


def build_metrics(classes: int) -> MetricCollection:
    """Metrics over a whole epoch, updated with logits (batch, classes) and labels (batch,).

    They are of the device that computes them: in training every device validates everything.
    """
    metrics = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "uar": UnweightedAverageRecall(classes, average="macro"),
            "macro_f1": MacroF1(classes, average="macro"),
            "precision": MulticlassPrecision(classes, average="none"),
            "recall": MulticlassRecall(classes, average="none"),
            "f1": MulticlassF1Score(classes, average="none"),
            "confusion": MulticlassConfusionMatrix(classes),
        }
    )
    for metric in metrics.values():
        metric.sync_on_compute = False
    return metrics


@dataclass(frozen=True)
class ClassScores:
    """One row of the per-class table; `support` counts the utterances of the class."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """What a set of predictions is worth; `confusion[i][j]` counts label i taken for label j.

    `accuracy` is what the field calls weighted accuracy, `weighted_f1` weighs by utterances.
    """

    utterances: int
    accuracy: float
    uar: float
    macro_f1: float
    weighted_f1: float
    classes: dict[str, ClassScores]
    confusion: list[list[int]]


def score(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> Scores:
    """Score predicted against true labels, both (utterances,) of class indices.

    Raises ValueError where there is nothing to score.
    """
    from sklearn.metrics import (  # a second of import that training does not need
        balanced_accuracy_score,
        confusion_matrix,
        precision_recall_fscore_support,
    )

    if len(labels) == 0:
        raise ValueError("there are no utterances to score")
    indices = list(range(len(names)))
    columns: Any = precision_recall_fscore_support(
        labels,
        predictions,
        labels=indices,
        zero_division=0,  # pyright: ignore[reportArgumentType] (0 is documented)
    )
    precision, recall, f1, support = columns
    with warnings.catch_warnings():  # a class that was only predicted is no accident here
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        uar = float(balanced_accuracy_score(labels, predictions))
    return Scores(
        utterances=len(labels),
        accuracy=float(np.mean(labels == predictions)),
        uar=uar,
        macro_f1=float(np.mean(f1[support > 0])),
        weighted_f1=float(np.average(f1, weights=support)),
        classes={
            name: ClassScores(
                float(precision[index]), float(recall[index]), float(f1[index]), int(support[index])
            )
            for index, name in enumerate(names)
        },
        confusion=confusion_matrix(labels, predictions, labels=indices).tolist(),
    )


@dataclass(frozen=True)
class Baselines:
    """What knows nothing would score on the same utterances.

    `chance` guesses evenly among the classes that occur: its accuracy and its UAR. `majority`
    always names the most frequent class: its accuracy; its UAR is that of chance.
    """

    chance: float
    majority: float
    majority_class: str


def baselines(scores: Scores) -> Baselines:
    """The baselines for the utterances that these scores are of."""
    support = {name: row.support for name, row in scores.classes.items() if row.support}
    most = max(support, key=lambda name: support[name])
    return Baselines(1 / len(support), support[most] / scores.utterances, most)
