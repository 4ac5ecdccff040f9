import numpy as np
import pandas as pd
import pytest

from ser.judgement import Predicted, judge, judge_by, judge_speakers

NAMES = ("sad", "calm", "angry")


@pytest.fixture
def predicted() -> Predicted:
    """Three speakers of two corpora; one knows no angry, and nobody knows the gender of another."""
    rows = [
        ("ravdess", "ravdess/1", "male", "sad", 0), ("ravdess", "ravdess/1", "male", "calm", 1),
        ("ravdess", "ravdess/1", "male", "angry", 2), ("ravdess", "ravdess/2", "female", "sad", 1),
        ("ravdess", "ravdess/2", "female", "calm", 1), ("tess", "tess/OAF", "", "sad", 0),
        ("tess", "tess/OAF", "", "sad", 2),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=pd.Index(["corpus", "speaker", "gender", "emotion", "said"]))
    logits = np.eye(3)[table["said"]] * 4 + np.random.default_rng(0).normal(0, 0.1, (7, 3))
    return Predicted(table, logits, NAMES, temperature=2.0)


def test_everything_is_judged_together(predicted):
    judgement = judge(predicted)
    assert judgement.scores.accuracy == pytest.approx(5 / 7)
    assert judgement.speakers == 3
    assert judgement.baselines.majority == pytest.approx(4 / 7)
    assert judgement.baselines.majority_class == "sad"
    assert judgement.baselines.chance == pytest.approx(1 / 3)
    interval = judgement.intervals["accuracy"]
    assert 0.5 <= interval.low < 5 / 7 < interval.high <= 1
    assert judgement.calibrated is not None
    assert judgement.calibrated.log_loss < judgement.probabilities.log_loss


def test_a_group_is_judged_as_if_it_were_alone(predicted):
    corpora = judge_by(predicted, "corpus")
    assert list(corpora) == ["ravdess", "tess"]
    rows = (predicted.utterances["corpus"] == "ravdess").to_numpy()
    assert corpora["ravdess"] == judge(predicted.only(rows))
    assert corpora["ravdess"].scores.accuracy == pytest.approx(4 / 5)


def test_a_part_of_one_class_and_one_speaker_has_what_can_be_said_of_it(predicted):
    tess = judge_by(predicted, "corpus")["tess"]
    assert (tess.scores.uar, tess.baselines.chance, tess.baselines.majority) == (0.5, 1, 1)
    assert tess.probabilities.roc_auc is None
    assert tess.intervals == {}


def test_an_unknown_gender_is_no_group(predicted):
    assert list(judge_by(predicted, "gender")) == ["female", "male"]


def test_the_table_of_speakers_agrees_with_judging_each_alone(predicted):
    speakers = judge_speakers(predicted)
    for name, judgement in judge_by(predicted, "speaker").items():
        row = speakers[name]
        assert row.utterances == judgement.scores.utterances
        assert row.accuracy == pytest.approx(judgement.scores.accuracy)
        assert row.uar == pytest.approx(judgement.scores.uar)
        assert row.macro_f1 == pytest.approx(judgement.scores.macro_f1)
        assert row.weighted_f1 == pytest.approx(judgement.scores.weighted_f1)
        assert row.confusion == judgement.scores.confusion
        for score in ("top2_accuracy", "log_loss", "calibration_error"):
            assert getattr(row, score) == pytest.approx(getattr(judgement.probabilities, score))
        assert row.roc_auc == judgement.probabilities.roc_auc
    assert (speakers["ravdess/2"].corpus, speakers["ravdess/2"].gender) == ("ravdess", "female")


def test_without_a_temperature_nothing_is_called_calibrated(predicted):
    bare = Predicted(predicted.utterances, predicted.logits, NAMES)
    assert judge(bare).calibrated is None
