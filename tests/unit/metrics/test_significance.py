from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import balanced_accuracy_score

from ser.metrics.intervals import count_by_speaker
from ser.metrics.significance import compare_uar, flip_signs, holm, second_minus_first


def two_runs(speakers: int, gain: float, seed: int = 0):
    generator = np.random.default_rng(seed)
    names = np.repeat([f"s{row:02}" for row in range(speakers)], 30)
    labels = generator.integers(0, 3, len(names))
    wrong = (labels + 1) % 3
    runs = [
        np.where(generator.random(len(names)) < right, labels, wrong) for right in (0.5, 0.5 + gain)
    ]
    return names, labels, runs


def counts_of(names: np.ndarray, labels: np.ndarray, runs: list[np.ndarray]):
    first, second = (count_by_speaker(names, labels, run, 3) for run in runs)
    return first, second


def compare(names: np.ndarray, labels: np.ndarray, runs: list[np.ndarray]) -> float | None:
    first, second = counts_of(names, labels, runs)
    return compare_uar(first, second)


def test_the_contributions_of_speakers_sum_to_the_difference_of_the_uars():
    names, labels, runs = two_runs(5, 0.1)
    counts = counts_of(names, labels, runs)
    first, second = (balanced_accuracy_score(labels, run) for run in runs)
    assert second_minus_first(*counts).sum() == pytest.approx(second - first)


def test_p_is_the_share_of_swaps_with_a_difference_as_large():
    """Swap the predictions of whole speakers, in all 64 ways, and score each with scikit-learn."""
    names, labels, runs = two_runs(6, 0.06, seed=3)
    differences = []
    for swaps in product((False, True), repeat=6):
        swapped = np.repeat(swaps, 30)
        one = np.where(swapped, runs[1], runs[0])
        two = np.where(swapped, runs[0], runs[1])
        scores = [balanced_accuracy_score(labels, each) for each in (one, two)]
        differences.append(abs(scores[1] - scores[0]))
    expected = np.mean(np.array(differences) >= differences[0] - 1e-12)
    assert compare(names, labels, runs) == pytest.approx(expected)


def test_many_speakers_are_sampled():
    gains = np.random.default_rng(0).normal(0.4, 1, 30)
    expected = permutation_test(
        (gains, np.zeros(30)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=1,
    ).pvalue  # fmt: skip
    assert flip_signs(gains) == pytest.approx(expected, abs=0.02)
    assert flip_signs(gains) == flip_signs(gains)


@pytest.mark.parametrize(("speakers", "certain"), [(5, False), (6, True)])
def test_fewer_than_six_speakers_are_never_certain(speakers, certain):
    names, labels, runs = two_runs(speakers, 0.5)
    found = compare(names, labels, runs)
    assert found is not None
    assert found == pytest.approx(2 / 2**speakers)
    assert (found < 0.05) == certain


def test_without_speakers_nothing_is_tested():
    names, labels, runs = two_runs(2, 0.5)
    assert compare(names, labels, runs) is None
    names, labels, runs = two_runs(8, 0.5)
    unknown = np.where(names == "s00", "", names)
    assert compare(unknown, labels, runs) is None


def test_equal_runs_do_not_differ():
    names, labels, runs = two_runs(8, 0.0)
    counts = count_by_speaker(names, labels, runs[0], 3)
    assert compare_uar(counts, counts) == 1


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
