from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel
from sklearn.metrics import balanced_accuracy_score

from ser.metrics.gaps import Outcomes, find_gaps

SPEAKERS, EACH = 12, 60


def draw(groups: np.ndarray, accuracy: np.ndarray, seed: int = 0, **changes) -> Outcomes:
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), len(groups) // 3)
    right = generator.random(len(groups)) < accuracy
    fields = {
        "labels": labels,
        "predictions": np.where(right, labels, (labels + 1) % 3),
        "speakers": np.repeat([f"s{row:02}" for row in range(SPEAKERS)], EACH),
        "corpora": np.full(len(groups), "c"),
        "groups": groups,
        "classes": 3,
    }
    return Outcomes(**(fields | changes))


WOMEN = np.repeat(np.where(np.arange(SPEAKERS) % 2, "female", "male"), EACH)
STRONG = np.tile(np.repeat(["normal", "strong"], EACH // 2), SPEAKERS)


def test_the_gap_between_speakers_is_that_of_a_t_test():
    outcomes = draw(WOMEN, np.where(WOMEN == "female", 0.8, 0.6))
    (gap,) = find_gaps(outcomes)
    assert (gap.group, gap.others, gap.speakers) == ("female", "male", (6, 6))
    rows = outcomes.groups == "female"
    expected = [
        balanced_accuracy_score(outcomes.labels[side], outcomes.predictions[side])
        for side in (rows, ~rows)
    ]
    assert [gap.uar, gap.other_uar] == pytest.approx(expected)
    means = (outcomes.labels == outcomes.predictions).reshape(SPEAKERS, EACH).mean(axis=1)
    found: Any = ttest_ind(means[1::2], means[::2], equal_var=False)
    assert gap.p == pytest.approx(found.pvalue, rel=0.05)
    ends = found.confidence_interval()
    assert gap.interval is not None
    assert [gap.interval.low, gap.interval.high] == pytest.approx([ends.low, ends.high], rel=0.05)


def test_groups_within_speakers_are_compared_within_speakers():
    generator = np.random.default_rng(1)
    ability = np.repeat(generator.uniform(0.4, 0.8, SPEAKERS), EACH)
    outcomes = draw(STRONG, ability + np.where(STRONG == "strong", 0.15, 0))
    (gap,) = find_gaps(outcomes)
    right = (outcomes.labels == outcomes.predictions).reshape(SPEAKERS, 2, EACH // 2).mean(axis=2)
    found: Any = ttest_rel(right[:, 0], right[:, 1])
    assert gap.gap == pytest.approx(np.mean(right[:, 0] - right[:, 1]))
    assert gap.p == pytest.approx(found.pvalue, rel=0.05)


def test_only_classes_of_both_groups_count():
    """Neutral has no strong intensity: it must not count for the normal one."""
    outcomes = draw(STRONG, np.full(len(STRONG), 0.7))
    kept = ~((STRONG == "strong") & (outcomes.labels == 0))
    part = Outcomes(
        labels=outcomes.labels[kept],
        predictions=outcomes.predictions[kept],
        speakers=outcomes.speakers[kept],
        corpora=outcomes.corpora[kept],
        groups=outcomes.groups[kept],
        classes=3,
    )
    (gap,) = find_gaps(part)
    rows = (part.groups == "normal") & (part.labels > 0)
    right = part.labels[rows] == part.predictions[rows]
    expected = np.mean([right[part.labels[rows] == label].mean() for label in (1, 2)])
    assert gap.uar == pytest.approx(expected)


def test_several_groups_are_compared_with_the_others_and_adjusted():
    ages = np.repeat(np.array(["20", "30", "40"])[np.arange(SPEAKERS) % 3], EACH)
    outcomes = draw(ages, np.where(ages == "40", 0.4, 0.8))
    gaps = find_gaps(outcomes)
    assert [gap.group for gap in gaps] == ["20", "30", "40"]
    alone = [find_gaps(draw(np.where(ages == age, age, "other"), np.where(ages == "40", 0.4, 0.8)))[0].p for age in ("20", "30", "40")]  # fmt: skip
    least = min(p for p in alone if p is not None)
    assert gaps[2].p == pytest.approx(3 * least)


def test_too_few_speakers_have_a_gap_without_a_test():
    women = np.repeat(np.where(np.arange(SPEAKERS) < 2, "female", "male"), EACH)
    (gap,) = find_gaps(draw(women, np.full(len(women), 0.7)))
    assert (gap.interval, gap.p) == (None, None)
    assert gap.speakers == (2, 10)


def test_one_group_or_unknown_ones_have_no_gap():
    assert find_gaps(draw(np.full(len(WOMEN), "male"), np.full(len(WOMEN), 0.7))) == []
    half = np.where(WOMEN == "female", "", WOMEN)
    assert find_gaps(draw(half, np.full(len(WOMEN), 0.7))) == []


def test_unknown_speakers_have_a_gap_without_a_test():
    outcomes = draw(WOMEN, np.full(len(WOMEN), 0.7))
    unknown = np.where(outcomes.speakers == "s03", "", outcomes.speakers)
    (gap,) = find_gaps(draw(WOMEN, np.full(len(WOMEN), 0.7), speakers=unknown))
    assert (gap.interval, gap.p) == (None, None)
