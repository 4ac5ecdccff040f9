"""Simulated coverage of the intervals, and false positives of the tests, with few speakers.

Speakers and the classes of a speaker have normal effects on the log-odds of being right. Their
size gives speakers a standard deviation of 0.10 in UAR, as RAVDESS has with a frozen backbone.
"""

import numpy as np
import pytest
from scipy.special import expit

from ser.metrics.gaps import Outcomes, find_gaps
from ser.metrics.intervals import METRICS, SpeakerCounts, compute, find_differences, jackknife
from ser.metrics.significance import ALPHA, compare_uar

CLASSES, EACH = 6, 8
SPEAKER, CELL = 0.45, 0.7  # standard deviations on the log-odds
SPEAKERS = (3, 4, 5, 6, 8, 12, 24)


def mean_odds(level: float) -> np.ndarray:
    return level + np.linspace(-1.2, 1.2, CLASSES)


def true_uar(level: float) -> float:
    """The mean over all speakers, by numerical integration."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = np.hypot(SPEAKER, CELL) * points[:, None]
    return float((weights @ expit(mean_odds(level) + spread)).mean() / weights.sum())


def draw_odds(generator: np.random.Generator, speakers: int, level: float) -> np.ndarray:
    effects = generator.normal(0, SPEAKER, (speakers, 1))
    return mean_odds(level) + effects + generator.normal(0, CELL, (speakers, CLASSES))


def draw_hits(generator: np.random.Generator, odds: np.ndarray) -> np.ndarray:
    """Whether each of EACH utterances (speakers, classes, EACH) is right."""
    return generator.random((*odds.shape, EACH)) < expit(odds)[..., None]


def count(hits: np.ndarray, strata: np.ndarray | None = None) -> SpeakerCounts:
    """Counts of hits; errors are predicted as the next class."""
    speakers = len(hits)
    confusion = np.zeros((speakers, CLASSES, CLASSES), int)
    rows, columns = np.arange(CLASSES), (np.arange(CLASSES) + 1) % CLASSES
    confusion[:, rows, rows] = hits.sum(axis=2)
    confusion[:, rows, columns] = EACH - hits.sum(axis=2)
    nothing = np.zeros(speakers)
    names = np.array([f"s{row:02}" for row in range(speakers)])
    return SpeakerCounts(
        names, confusion, nothing, nothing, np.zeros(speakers, int) if strata is None else strata
    )


def measure_coverage(speakers: int, level: float, trials: int, seed: int) -> tuple[float, float]:
    """How often the interval holds the true UAR, and its mean width."""
    generator, held, widths, truth = np.random.default_rng(seed), 0, [], true_uar(level)
    for _ in range(trials):
        counts = count(draw_hits(generator, draw_odds(generator, speakers, level)))
        found = jackknife(counts.columns(), CLASSES, counts.strata)
        interval = found.interval(METRICS.index("uar"))
        held += interval is not None and interval.low <= truth <= interval.high
        widths.append(0 if interval is None else interval.width)
    return held / trials, float(np.mean(widths))


def measure_bootstrap(speakers: int, level: float, trials: int, seed: int) -> float:
    """The coverage of a percentile bootstrap over speakers, for comparison."""
    generator, held, truth = np.random.default_rng(seed), 0, true_uar(level)
    for _ in range(trials):
        counts = count(draw_hits(generator, draw_odds(generator, speakers, level)))
        draws = generator.multinomial(speakers, np.full(speakers, 1 / speakers), 500)
        values = compute(draws @ counts.columns(), CLASSES)[METRICS.index("uar")]
        low, high = np.quantile(values, [0.025, 0.975])
        held += low <= truth <= high
    return held / trials


def measure_paired_errors(speakers: int, trials: int, seed: int) -> tuple[float, float]:
    """How often two systems that are equally good differ: by the test, and by the interval."""
    generator, tested, excluded = np.random.default_rng(seed), 0, 0
    for _ in range(trials):
        common = draw_odds(generator, speakers, 0.9)
        runs = []
        for _ in range(2):
            own = generator.normal(0, 0.3, common.shape) + generator.normal(0, 0.2, (speakers, 1))
            runs.append(count(draw_hits(generator, common + own)))
        p, interval = compare_uar(runs[0], runs[1]), find_differences(runs[0], runs[1]).get("uar")
        tested += p is not None and p < ALPHA
        excluded += interval is not None and not interval.low <= 0 <= interval.high
    return tested / trials, excluded / trials


def measure_gap_errors(women: int, men: int, trials: int, seed: int) -> float:
    """How often two groups that are equally well recognised have p < 0.05."""
    generator, found = np.random.default_rng(seed), 0
    speakers = women + men
    labels = np.broadcast_to(np.arange(CLASSES)[:, None], (speakers, CLASSES, EACH)).ravel()
    names = np.repeat([f"s{row:02}" for row in range(speakers)], CLASSES * EACH)
    groups = np.repeat(["female"] * women + ["male"] * men, CLASSES * EACH)
    for _ in range(trials):
        hits = draw_hits(generator, draw_odds(generator, speakers, 0.0)).ravel()
        predictions = np.where(hits, labels, (labels + 1) % CLASSES)
        corpora = np.full(len(names), "c")
        gap = find_gaps(Outcomes(labels, predictions, names, corpora, groups, CLASSES))[0]
        found += gap.p is not None and gap.p < ALPHA
    return found / trials


@pytest.mark.parametrize("speakers", SPEAKERS)
def test_intervals_hold_the_true_score_about_as_often_as_they_claim(speakers):
    # 400 trials have a standard error of 0.011.
    assert 0.915 <= measure_coverage(speakers, 0.9, 400, seed=speakers)[0] <= 0.985


def test_a_percentile_bootstrap_would_be_too_narrow():
    assert measure_bootstrap(3, 0.9, 200, seed=0) < 0.85


def test_equal_systems_rarely_differ():
    for speakers in (4, 6, 10):
        tested, excluded = measure_paired_errors(speakers, 300, seed=speakers)
        assert tested <= 0.08
        assert excluded <= 0.09


def test_equal_groups_rarely_differ():
    assert measure_gap_errors(6, 6, 300, seed=0) <= 0.09
    assert measure_gap_errors(3, 12, 300, seed=1) <= 0.11


@pytest.mark.slow
@pytest.mark.parametrize("level", [-0.5, 0.9, 3.0])
def test_coverage_in_full(level):
    """The table of docs/metrics.md: run with -s to print it."""
    for speakers in (3, 4, 5, 6, 8, 10, 16, 24):
        held, width = measure_coverage(speakers, level, 4000, seed=speakers)
        percentile = measure_bootstrap(speakers, level, 2000, seed=speakers)
        print(
            f"UAR {true_uar(level):.2f}, {speakers} speakers: coverage {held:.3f}, width"
            f" {width:.2f}; percentile bootstrap {percentile:.3f}"
        )
        assert 0.93 <= held <= 0.975


@pytest.mark.slow
def test_false_positives_in_full():
    for speakers in (3, 4, 6, 8, 10, 16, 24):
        tested, excluded = measure_paired_errors(speakers, 3000, seed=speakers)
        print(f"{speakers} speakers: permutation test {tested:.3f}, interval {excluded:.3f}")
        assert tested <= 0.06
        assert excluded <= 0.065
    for women, men in ((3, 3), (4, 4), (6, 6), (12, 12), (3, 12)):
        false = measure_gap_errors(women, men, 3000, seed=women)
        print(f"{women} women and {men} men: gap {false:.3f}")
        assert false <= 0.085
