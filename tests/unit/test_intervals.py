import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from ser import intervals
from ser.intervals import (
    METRICS,
    SIGNED,
    Interval,
    compute,
    find_differences,
    find_intervals,
    mcnemar,
    show_interval,
    tally,
)

CLASSES = 4


def draw(speakers: int, each: int, seed: int = 0, spread: float = 0.0):
    """Speakers, labels, predictions (utterances,); how often one is understood has a spread."""
    generator = np.random.default_rng(seed)
    names = np.repeat([f"s{index:03}" for index in range(speakers)], each)
    ability = np.clip(generator.normal(0.6, spread, speakers), 0, 1).repeat(each)
    labels = generator.integers(0, CLASSES, len(names))
    others = (labels + generator.integers(1, CLASSES, len(names))) % CLASSES
    return names, labels, np.where(generator.random(len(names)) < ability, labels, others)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("occurring", [4, 2])
def test_scores_from_sums_are_those_of_scikit_learn(occurring):
    speakers, labels, predictions = draw(7, 40)
    labels = labels % occurring
    sums = tally(speakers, labels, predictions, CLASSES).columns().sum(axis=0)
    found = dict(zip(METRICS, compute(sums[None], CLASSES)[:, 0], strict=True))
    among = list(range(occurring))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert found["uar"] == pytest.approx(balanced_accuracy_score(labels, predictions))
    macro = f1_score(labels, predictions, average="macro", labels=among)
    assert found["macro_f1"] == pytest.approx(macro)
    weighted = f1_score(labels, predictions, average="weighted", labels=among)
    assert found["weighted_f1"] == pytest.approx(weighted)


def test_top_two_and_log_loss_are_means_over_utterances():
    speakers, labels, predictions = draw(3, 5)
    hits, losses = np.arange(15) % 2, np.arange(15.0)
    sums = tally(speakers, labels, predictions, CLASSES, (hits, losses)).columns().sum(axis=0)
    found = compute(sums[None], CLASSES)[:, 0]
    assert found[METRICS.index("top2_accuracy")] == pytest.approx(hits.mean())
    assert found[METRICS.index("log_loss")] == pytest.approx(losses.mean())


def test_the_bootstrap_draws_speakers_and_not_utterances():
    """Where speakers differ, an interval over utterances would be several times too narrow."""
    speakers, labels, predictions = draw(20, 100, spread=0.2)
    clustered = find_intervals(tally(speakers, labels, predictions, CLASSES))["accuracy"]
    alone = tally(np.arange(2000), labels, predictions, CLASSES)
    naive = find_intervals(alone)["accuracy"]
    assert clustered.high - clustered.low > 2.5 * (naive.high - naive.low)
    # The standard error of a mean over speakers, as in any textbook.
    means = (labels == predictions).reshape(20, 100).mean(axis=1)
    width = 2 * 1.96 * means.std() / np.sqrt(20)
    assert clustered.high - clustered.low == pytest.approx(width, rel=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(intervals, "DRAWS", 300)
    held = 0
    for seed in range(100):
        found = find_intervals(tally(*draw(30, 20, seed, spread=0.1), CLASSES), seed)["accuracy"]
        held += found.low <= 0.6 <= found.high
    assert 85 <= held <= 100


def test_an_interval_depends_on_its_seed_alone_and_not_on_the_order_of_utterances():
    speakers, labels, predictions = draw(12, 10)
    order = np.random.default_rng(1).permutation(len(labels))
    first = find_intervals(tally(speakers, labels, predictions, CLASSES), seed=5)
    again = find_intervals(tally(speakers[order], labels[order], predictions[order], CLASSES), 5)
    assert first == again
    assert first != find_intervals(tally(speakers, labels, predictions, CLASSES), seed=6)


def test_one_speaker_gives_no_ground_for_an_interval():
    assert find_intervals(tally(*draw(1, 50), CLASSES)) == {}


def test_a_paired_difference_sees_what_two_intervals_hide():
    speakers, labels, predictions = draw(30, 40, spread=0.25)
    better = predictions.copy()
    mended = np.flatnonzero(predictions != labels)[::6]
    better[mended] = labels[mended]
    first, second = (tally(speakers, labels, rows, CLASSES) for rows in (predictions, better))
    one, other = find_intervals(first)["accuracy"], find_intervals(second)["accuracy"]
    assert one.high > other.low  # apart they overlap
    difference = find_differences(first, second)["accuracy"]
    assert difference.low > 0
    assert difference.low < len(mended) / len(labels) < difference.high
    nothing = find_differences(first, first)["uar"]
    assert (nothing.low, nothing.high) == (0, 0)


def test_mcnemar_by_hand():
    first = np.array([True] * 10 + [True] * 1 + [False] * 5)
    second = np.array([True] * 10 + [False] * 1 + [True] * 5)
    # 6 disagree, 1 to 5: two tails of a fair coin, 2 * (C(6,0) + C(6,1)) / 64.
    assert mcnemar(first, second) == pytest.approx(2 * 7 / 64)
    assert mcnemar(first, first) == 1.0


def test_an_interval_is_told_in_words_where_it_has_no_ends():
    assert show_interval(None) == "not known"
    assert show_interval(Interval(1.0, 1.0)) == "no spread"
    assert show_interval(Interval(0.25, 0.5)) == "25.0 to 50.0%"
    assert show_interval(Interval(-0.01, 0.02), SIGNED) == "-1.0 to +2.0%"


def test_nothing_is_drawn_where_somebody_is_not_known():
    labels = np.array([0, 1, 0, 1])
    known = tally(np.array(["a", "a", "b", "b"]), labels, labels[::-1], 2)
    some = tally(np.array(["a", "a", "b", ""]), labels, labels[::-1], 2)
    assert find_intervals(known)
    assert find_intervals(some) == {}
    assert find_differences(some, some) == {}
