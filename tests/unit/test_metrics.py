import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from ser.metrics import build_metrics, score

NAMES = ("neutral", "happy", "sad", "calm")
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PREDICTIONS = np.array([0, 0, 0, 1, 1, 2, 2, 3])


def in_training(labels: np.ndarray, predictions: np.ndarray, classes: int, batch: int = 3):
    metrics = build_metrics(classes)
    logits = torch.nn.functional.one_hot(torch.from_numpy(predictions), classes).float()
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        metrics.update(logits[part], torch.from_numpy(labels[part]))
    return metrics.compute()


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


def test_uar_is_balanced_accuracy_of_scikit_learn():
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(LABELS, PREDICTIONS)
    assert score(LABELS, PREDICTIONS, NAMES).uar == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("occurring", [8, 6])
def test_training_and_report_agree_and_both_with_scikit_learn(seed, occurring):
    generator = np.random.default_rng(seed)
    labels = np.append(np.arange(occurring), generator.integers(0, occurring, 92))
    predictions = np.where(
        generator.random(len(labels)) < 0.6, labels, generator.integers(0, 8, len(labels))
    )
    report = score(labels, predictions, [str(index) for index in range(8)])
    epoch = in_training(labels, predictions, 8)
    assert epoch["accuracy"].item() == pytest.approx(report.accuracy)
    assert epoch["uar"].item() == pytest.approx(report.uar)
    assert epoch["macro_f1"].item() == pytest.approx(report.macro_f1)
    assert epoch["confusion"].tolist() == report.confusion
    for index, row in enumerate(report.classes.values()):
        assert epoch["precision"][index].item() == pytest.approx(row.precision)
        assert epoch["recall"][index].item() == pytest.approx(row.recall)
        assert epoch["f1"][index].item() == pytest.approx(row.f1)
    among = list(range(occurring))
    assert report.macro_f1 == pytest.approx(
        f1_score(labels, predictions, average="macro", labels=among)
    )


def test_metrics_are_of_the_epoch_and_not_the_mean_of_the_batches():
    labels, predictions = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    whole = in_training(labels, predictions, 2, batch=4)
    cut = in_training(labels, predictions, 2, batch=3)
    for name in ("accuracy", "uar", "macro_f1"):
        assert cut[name] == whole[name]


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="no utterances to score"):
        score(np.array([], int), np.array([], int), NAMES)
