from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)
from torchmetrics.wrappers import MetricTracker

import ser.metrics
from ser.metrics.epoch import MacroF1, UnweightedAverageRecall
from ser.metrics.scores import score, scores_from_confusion

NAMES = ("neutral", "happy", "sad", "calm")
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PREDICTIONS = np.array([0, 0, 0, 1, 1, 2, 2, 3])


def update(metric, labels: np.ndarray, predictions: np.ndarray, classes: int, batch: int = 3):
    logits = torch.nn.functional.one_hot(torch.from_numpy(predictions), classes).float()
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        metric.update(logits[part], torch.from_numpy(labels[part]))
    return metric.compute()


def draw(seed: int, occurring: int) -> tuple[np.ndarray, np.ndarray]:
    """100 labels of so many of 8 classes, predicted with an accuracy of about 0.65."""
    generator = np.random.default_rng(seed)
    labels = np.append(np.arange(occurring), generator.integers(0, occurring, 92))
    other = generator.integers(0, 8, len(labels))
    return labels, np.where(generator.random(len(labels)) < 0.6, labels, other)


def test_scores_computed_by_hand():
    scores = score(LABELS, PREDICTIONS, NAMES)
    assert scores.accuracy == 5 / 8
    assert scores.uar == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    # F1: neutral 2*3/(2*3+0+1), happy 2/(2+1+1), sad 2/(2+1+1); calm does not occur.
    assert scores.macro_f1 == pytest.approx((6 / 7 + 1 / 2 + 1 / 2) / 3)
    assert scores.weighted_f1 == pytest.approx((4 * 6 / 7 + 2 * 1 / 2 + 2 * 1 / 2) / 8)
    assert scores.confusion == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert (scores.classes["neutral"].precision, scores.classes["neutral"].recall) == (1, 0.75)
    assert (scores.classes["calm"].support, scores.classes["calm"].recall) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("occurring", [8, 6])
@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_scores_equal_those_of_scikit_learn(seed, occurring):
    labels, predictions = draw(seed, occurring)
    found, among = score(labels, predictions, [str(index) for index in range(8)]), range(occurring)
    assert found.uar == pytest.approx(balanced_accuracy_score(labels, predictions))
    macro = f1_score(labels, predictions, average="macro", labels=list(among))
    assert found.macro_f1 == pytest.approx(macro)
    weighted = f1_score(labels, predictions, average="weighted")
    assert found.weighted_f1 == pytest.approx(weighted)
    expected = confusion_matrix(labels, predictions, labels=range(8))
    assert found.confusion == expected.tolist()
    columns: Any = precision_recall_fscore_support(
        labels,
        predictions,
        labels=range(8),
        zero_division=0,  # pyright: ignore[reportArgumentType] (0 is documented)
    )
    precision, recall, f1, support = columns
    rows = list(found.classes.values())
    assert [row.precision for row in rows] == pytest.approx(precision)
    assert [row.recall for row in rows] == pytest.approx(recall)
    assert [row.f1 for row in rows] == pytest.approx(f1)
    assert [row.support for row in rows] == support.tolist()


@pytest.mark.parametrize("occurring", [8, 6])
@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_the_torchmetrics_score_all_batches_of_an_epoch_together(occurring):
    labels, predictions = draw(0, occurring)
    expected = balanced_accuracy_score(labels, predictions)
    assert update(UnweightedAverageRecall(8), labels, predictions, 8) == pytest.approx(expected)
    expected = f1_score(labels, predictions, labels=list(range(occurring)), average="macro")
    assert update(MacroF1(8), labels, predictions, 8) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_an_epoch_starts_empty_after_a_reset():
    metric = UnweightedAverageRecall(4)
    update(metric, LABELS, LABELS, 4)
    metric.reset()
    expected = balanced_accuracy_score(LABELS, PREDICTIONS)
    assert update(metric, LABELS, PREDICTIONS, 4) == pytest.approx(expected)


def test_stacked_confusion_matrices_are_scored_one_by_one():
    stack = np.array([[[3, 1], [0, 2]], [[0, 0], [1, 4]], [[0, 0], [0, 0]]])
    scores = scores_from_confusion(stack[:, None])
    assert scores.uar.shape == (3, 1)
    assert scores.uar[:, 0].tolist() == pytest.approx([(3 / 4 + 1) / 2, 4 / 5, 0])
    assert scores.recall[1, 0].tolist() == pytest.approx([0, 4 / 5])


@pytest.mark.parametrize(
    "convert",
    [
        list, tuple, np.array, torch.tensor, pd.Series, pd.Categorical,
        lambda values: pd.Series(values, index=range(10, 18), dtype="Int64"),
        lambda values: np.array(values, np.float32), lambda values: torch.tensor(values).to(torch.uint8),
        lambda values: [NAMES[value] for value in values],
        lambda values: pd.Series([NAMES[value] for value in values]),
        lambda values: pd.Series([NAMES[value] for value in values], dtype="category"),
        lambda values: np.array([NAMES[value] for value in values]),
    ],
)  # fmt: skip
def test_any_container_of_indices_or_names_is_scored_alike(convert):
    expected = score(LABELS, PREDICTIONS, NAMES)
    assert score(convert(LABELS.tolist()), convert(PREDICTIONS.tolist()), NAMES) == expected
    assert score(convert(LABELS.tolist()), PREDICTIONS, NAMES) == expected


def test_the_public_function_takes_lists():
    scores = ser.metrics.score([0, 1, 1, 2], [0, 1, 2, 2], ["a", "b", "c"])
    assert scores.accuracy == 3 / 4
    assert scores.uar == pytest.approx((1 + 1 / 2 + 1) / 3)


@pytest.mark.parametrize(
    ("labels", "predictions", "names"),
    [
        ([], [], NAMES),
        ([0, 1], [0], NAMES),
        ([0, 4], [0, 0], NAMES),
        ([0, -1], [0, 0], NAMES),
        ([0.5, 1], [0, 0], NAMES),
        ([float("nan"), 1], [0, 0], NAMES),
        ([None, 1], [0, 0], NAMES),
        (["happy", "joy"], [0, 0], NAMES),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], ("a", "b")),
        (0, 0, NAMES),
        ([0, 1], [0, 1], "ab"),
        ([0, 1], [0, 1], ("a", "a")),
        ([0, 1], [0, 1], ()),
        (pd.Series([0, None], dtype="Int64"), [0, 1], NAMES),
        (pd.Series(["happy", None]), ["happy", "sad"], NAMES),
    ],
)
def test_unusable_labels_are_refused(labels, predictions, names):
    with pytest.raises(ValueError, match=r"."):
        score(labels, predictions, names)


@pytest.mark.parametrize("kind", [UnweightedAverageRecall, MacroF1])
def test_the_torchmetrics_are_plotted_and_tracked_as_scalars(kind):
    tracker = MetricTracker(kind(3))
    for predicted in ([0, 1, 1], [0, 1, 2]):
        tracker.increment()
        tracker.update(torch.eye(3)[predicted], torch.tensor([0, 1, 2]))
    assert tracker.best_metric() == pytest.approx(1.0)
    last: Any = tracker[-1]
    figure, _ = last.plot()
    assert figure is not None
