import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from ser.metrics.summary import Predictions, summarize, summarize_by, summarize_speakers

NAMES = ("sad", "calm", "angry")


@pytest.fixture
def predicted() -> Predictions:
    """Four speakers of two corpora; tess has no angry utterance and one unknown gender."""
    rows = [
        ("ravdess", "ravdess/1", "male", "sad", 0), ("ravdess", "ravdess/1", "male", "calm", 1),
        ("ravdess", "ravdess/1", "male", "angry", 2), ("ravdess", "ravdess/2", "female", "sad", 1),
        ("ravdess", "ravdess/2", "female", "calm", 1), ("ravdess", "ravdess/3", "female", "angry", 2),
        ("ravdess", "ravdess/3", "female", "calm", 0), ("tess", "tess/OAF", "", "sad", 0),
        ("tess", "tess/OAF", "", "sad", 2),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=pd.Index(["corpus", "speaker", "gender", "emotion", "best"]))
    table["id"], table["split"] = [f"u{row}" for row in range(len(table))], "test"
    logits = np.eye(3)[table["best"]] * 4 + np.random.default_rng(0).normal(0, 0.1, (9, 3))
    return Predictions(table, logits, NAMES, temperature=2.0)


def test_all_utterances_are_summarized(predicted):
    found = summarize(predicted)
    assert found.scores.accuracy == pytest.approx(6 / 9)
    assert found.speakers == 4
    assert found.baselines.majority == pytest.approx(4 / 9)
    assert found.baselines.majority_class == "sad"
    assert found.baselines.chance == pytest.approx(1 / 3)
    interval = found.intervals["accuracy"]
    assert 0 < interval.low < 6 / 9 < interval.high < 1
    assert found.no_interval == ""
    assert found.calibrated is not None
    assert found.calibrated.log_loss < found.probabilities.log_loss


def test_a_group_is_summarized_as_if_it_were_alone(predicted):
    corpora = summarize_by(predicted, "corpus")
    assert list(corpora) == ["ravdess", "tess"]
    rows = (predicted.utterances["corpus"] == "ravdess").to_numpy()
    assert corpora["ravdess"] == summarize(predicted.only(rows))
    assert corpora["ravdess"].scores.accuracy == pytest.approx(5 / 7)


def test_a_part_of_one_class_and_one_speaker_has_scores_without_intervals(predicted):
    tess = summarize_by(predicted, "corpus")["tess"]
    assert (tess.scores.uar, tess.baselines.chance, tess.baselines.majority) == (0.5, 1, 1)
    assert tess.probabilities.roc_auc is None
    assert tess.intervals == {}
    assert tess.no_interval


def test_an_unknown_gender_is_no_group(predicted):
    assert list(summarize_by(predicted, "gender")) == ["female", "male"]


def test_the_scores_of_a_speaker_are_those_of_its_utterances_alone(predicted):
    speakers = summarize_speakers(predicted)
    for name, found in summarize_by(predicted, "speaker").items():
        row = speakers[name]
        assert row.utterances == found.scores.utterances
        for score in ("accuracy", "uar", "macro_f1", "weighted_f1"):
            assert getattr(row, score) == pytest.approx(getattr(found.scores, score))
        assert row.confusion == found.scores.confusion
        for score in ("top2_accuracy", "log_loss", "calibration_error"):
            assert getattr(row, score) == pytest.approx(getattr(found.probabilities, score))
        assert row.roc_auc == found.probabilities.roc_auc
    assert (speakers["ravdess/2"].corpus, speakers["ravdess/2"].gender) == ("ravdess", "female")


def test_without_a_temperature_nothing_is_calibrated(predicted):
    bare = Predictions(predicted.utterances, predicted.logits, NAMES)
    assert bare.calibrated is None
    assert summarize(bare).calibrated is None
    assert bare.probabilities == pytest.approx(softmax(predicted.logits, axis=1))


def test_the_temperature_calibrates_the_logits(predicted):
    assert predicted.calibrated == pytest.approx(log_softmax(predicted.logits / 2, axis=1))


def test_calibrated_probabilities_of_several_windows_decide(predicted):
    """A recording of two windows: the temperature is applied to each before the mean."""
    windows = np.array([[5.0, 0.0, 0.0], [0.0, 2.0, -5.0]])
    plain = np.log(softmax(windows, axis=1).mean(axis=0))
    calibrated = np.log(softmax(windows / 9, axis=1).mean(axis=0))
    both = [np.vstack([plain] * 9), np.vstack([calibrated] * 9)]
    found = Predictions(predicted.utterances, both[0], NAMES, 9.0, both[1])
    assert found.predictions.tolist() == [int(calibrated.argmax())] * 9
    expected = log_loss(found.labels, np.exp(both[1]), labels=range(3))
    metrics = summarize(found).calibrated
    assert metrics is not None
    assert metrics.log_loss == pytest.approx(expected)
    part = found.only(np.arange(9) < 2)
    assert part.calibrated == pytest.approx(both[1][:2])


def test_the_table_of_predictions_has_probabilities_and_confidence(predicted):
    table = predicted.tabulate()
    columns = [f"p_{name}" for name in NAMES]
    assert table[columns].to_numpy() == pytest.approx(softmax(predicted.logits, axis=1))
    expected = softmax(predicted.logits / 2, axis=1).max(axis=1)
    assert table["confidence"].to_numpy() == pytest.approx(expected)
    assert table["predicted"].tolist() == [NAMES[row] for row in predicted.utterances["best"]]
