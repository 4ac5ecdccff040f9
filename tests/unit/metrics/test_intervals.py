import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from ser.metrics.intervals import (
    METRICS,
    Interval,
    compute,
    count_by_speaker,
    explain_missing,
    find_differences,
    find_intervals,
    merge_lonely,
    widen,
)

CLASSES = 4


def draw(speakers: int, each: int, seed: int = 0, spread: float = 0.0):
    """Speakers, labels, predictions (utterances,); the accuracy varies between speakers."""
    generator = np.random.default_rng(seed)
    names = np.repeat([f"s{index:03}" for index in range(speakers)], each)
    ability = np.clip(generator.normal(0.6, spread, speakers), 0, 1).repeat(each)
    labels = generator.integers(0, CLASSES, len(names))
    others = (labels + generator.integers(1, CLASSES, len(names))) % CLASSES
    return names, labels, np.where(generator.random(len(names)) < ability, labels, others)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("occurring", [4, 2])
def test_scores_from_sums_equal_those_of_scikit_learn(occurring):
    speakers, labels, predictions = draw(7, 40)
    labels = labels % occurring
    sums = count_by_speaker(speakers, labels, predictions, CLASSES).columns().sum(axis=0)
    found = dict(zip(METRICS, compute(sums, CLASSES), strict=True))
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
    counts = count_by_speaker(speakers, labels, predictions, CLASSES, (hits, losses))
    assert counts.total("top2_accuracy") == pytest.approx(hits.mean())
    assert counts.total("log_loss") == pytest.approx(losses.mean())


def test_with_equal_speakers_the_interval_is_that_of_a_t_test_on_their_means():
    speakers, labels, predictions = draw(12, 100, spread=0.15)
    found = find_intervals(count_by_speaker(speakers, labels, predictions, CLASSES))["accuracy"]
    means = (labels == predictions).reshape(12, 100).mean(axis=1)
    mean, error = means.mean(), means.std(ddof=1) / np.sqrt(12)
    margin = t.ppf(0.975, 11) * error / (mean * (1 - mean))  # delta method
    expected = expit([logit(mean) - margin, logit(mean) + margin])
    assert [found.low, found.high] == pytest.approx(expected.tolist(), rel=1e-6)


def test_the_unit_is_the_speaker_and_not_the_utterance():
    """If speakers differ, an interval over utterances would be several times too narrow."""
    speakers, labels, predictions = draw(20, 100, spread=0.2)
    clustered = find_intervals(count_by_speaker(speakers, labels, predictions, CLASSES))
    alone = np.array([f"u{row}" for row in range(2000)])
    naive = find_intervals(count_by_speaker(alone, labels, predictions, CLASSES))
    assert clustered["accuracy"].width > 2.5 * naive["accuracy"].width


def test_the_order_of_utterances_does_not_matter():
    speakers, labels, predictions = draw(12, 10)
    order = np.random.default_rng(1).permutation(len(labels))
    first = find_intervals(count_by_speaker(speakers, labels, predictions, CLASSES))
    again = (speakers[order], labels[order], predictions[order])
    for name, interval in find_intervals(count_by_speaker(*again, CLASSES)).items():
        assert interval.low == pytest.approx(first[name].low)
        assert interval.high == pytest.approx(first[name].high)


def test_intervals_of_a_good_model_stay_below_one():
    speakers, labels, _ = draw(6, 20)
    predictions = labels.copy()
    predictions[[0, 1, 45]] = (labels[[0, 1, 45]] + 1) % CLASSES
    found = find_intervals(count_by_speaker(speakers, labels, predictions, CLASSES))
    assert found["accuracy"].low < 117 / 120 < found["accuracy"].high < 1


@pytest.mark.parametrize("speakers", [1, 2])
def test_one_or_two_speakers_have_no_interval(speakers):
    counts = count_by_speaker(*draw(speakers, 50, spread=0.1), CLASSES)
    assert find_intervals(counts) == {}
    assert explain_missing(counts)
    assert find_differences(counts, counts) == {}


def test_speakers_count_by_their_share_of_the_utterances():
    """Eight speakers of whom one has nine tenths of the utterances are less than three."""
    names, labels, predictions = draw(8, 200, spread=0.2)
    few = np.concatenate([np.arange(200), *(200 * s + np.arange(3) for s in range(1, 8))])
    uneven = count_by_speaker(names[few], labels[few], predictions[few], CLASSES)
    assert find_intervals(uneven) == {}
    assert explain_missing(uneven)
    assert find_intervals(count_by_speaker(names, labels, predictions, CLASSES))


def test_without_any_spread_there_is_no_interval():
    speakers, labels, _ = draw(5, 20)
    perfect = count_by_speaker(speakers, labels, labels, CLASSES)
    assert "uar" not in find_intervals(perfect)
    assert explain_missing(perfect)


def test_unknown_speakers_have_no_interval():
    names, labels, predictions = draw(5, 30, spread=0.2)
    known = count_by_speaker(names, labels, predictions, CLASSES)
    unknown = np.where(names == "s001", "", names)
    some = count_by_speaker(unknown, labels, predictions, CLASSES)
    assert find_intervals(known)
    assert find_intervals(some) == {}
    assert find_differences(some, some) == {}
    assert explain_missing(some)


def test_a_paired_difference_is_more_certain_than_two_intervals():
    speakers, labels, predictions = draw(30, 40, spread=0.25)
    better = predictions.copy()
    fixed = np.flatnonzero(predictions != labels)[::6]
    better[fixed] = labels[fixed]
    first, second = (
        count_by_speaker(speakers, labels, each, CLASSES) for each in (predictions, better)
    )
    one, other = find_intervals(first)["accuracy"], find_intervals(second)["accuracy"]
    assert one.high > other.low  # on their own they overlap
    difference = find_differences(first, second)["accuracy"]
    assert 0 < difference.low < len(fixed) / len(labels) < difference.high
    assert find_differences(first, first) == {}


def test_corpora_are_strata():
    """The difference between two corpora is not variance of the pooled score."""
    generator = np.random.default_rng(0)
    names = np.repeat([f"s{index:02}" for index in range(16)], 50)
    easy = np.repeat(np.arange(16) < 8, 50)
    labels = generator.integers(0, CLASSES, len(names))
    wrong = (labels + 1) % CLASSES
    predictions = np.where(generator.random(len(names)) < np.where(easy, 0.95, 0.4), labels, wrong)
    corpora = np.where(easy, "easy", "hard")
    plain = find_intervals(count_by_speaker(names, labels, predictions, CLASSES))["uar"]
    counts = count_by_speaker(names, labels, predictions, CLASSES, strata=corpora)
    assert find_intervals(counts)["uar"].width < plain.width / 2


@pytest.mark.parametrize(
    ("strata", "together"),
    [
        (list("aabb"), list("aabb")),
        (list("aaab"), list("aaaa")),
        (list("aaabbc"), list("aaabbb")),
        (list("aabc"), list("aabb")),
        (list("abc"), list("aaa")),
        (list("aaaa"), list("aaaa")),
    ],
)
def test_a_corpus_with_one_speaker_joins_another(strata, together):
    merged = merge_lonely(np.array(strata))
    groups = [set(np.flatnonzero(merged == value)) for value in np.unique(merged)]
    expected = [set(np.flatnonzero(np.array(together) == value)) for value in sorted(set(together))]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, expected))


def test_the_wider_interval_is_taken():
    narrow, wide = Interval(0.4, 0.5), Interval(0.3, 0.5)
    assert widen({"uar": narrow}, {"uar": wide}) == {"uar": wide}
    assert widen({"uar": narrow}, {}) == {"uar": narrow}
