"""Gaps between groups of utterances: women and men, intensities, ages."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from ser.metrics.intervals import (
    LEAST_SPEAKERS,
    METRICS,
    Interval,
    SpeakerCounts,
    count_by_speaker,
    jackknife,
)
from ser.metrics.significance import holm


@dataclass(frozen=True)
class Outcomes:
    """True and predicted class indices (utterances,) with their speakers, corpora and groups."""

    labels: np.ndarray
    predictions: np.ndarray
    speakers: np.ndarray
    corpora: np.ndarray
    groups: np.ndarray
    classes: int

    def count(self, rows: np.ndarray) -> SpeakerCounts:
        """Counts of some rows, with an entry for every speaker."""
        part = count_by_speaker(
            self.speakers[rows], self.labels[rows], self.predictions[rows], self.classes
        )
        names, first = np.unique(self.speakers, return_index=True)
        confusion = np.zeros((len(names), self.classes, self.classes), int)
        confusion[np.searchsorted(names, part.names)] = part.confusion
        nothing = np.zeros(len(names))
        complete = "" not in names
        return SpeakerCounts(names, confusion, nothing, nothing, self.corpora[first], complete)


@dataclass(frozen=True)
class Gap:
    """The UAR of one group minus that of the others.

    Only classes that occur in both count, so that a group without the easy classes is not at a
    disadvantage. `speakers` are those of the group and of the others; a speaker may be in both.
    `interval` and `p` are None with too few speakers; `p` is adjusted for the gaps of one column.
    """

    group: str
    others: str
    uar: float
    other_uar: float
    speakers: tuple[int, int]
    interval: Interval | None
    p: float | None

    @property
    def gap(self) -> float:
        return self.uar - self.other_uar


def find_gaps(outcomes: Outcomes) -> list[Gap]:
    """Compare each group with all others; two groups give one gap, unknown ones ("") none."""
    names = sorted(set(outcomes.groups.tolist()) - {""})
    if len(names) < 2:
        return []
    pairs = [(names[0], names[1])] if len(names) == 2 else [(name, "all others") for name in names]
    gaps = [gap for pair in pairs if (gap := find_gap(outcomes, *pair)) is not None]
    adjusted = holm([gap.p for gap in gaps])
    return [replace(gap, p=p) for gap, p in zip(gaps, adjusted, strict=True)]


def find_gap(outcomes: Outcomes, group: str, others: str) -> Gap | None:
    """The gap of one group, or None if it has no class in common with the others."""
    inside = outcomes.groups == group
    outside = ~inside & (outcomes.groups != "")
    common = np.intersect1d(outcomes.labels[inside], outcomes.labels[outside])
    if len(common) == 0:
        return None
    kept = np.isin(outcomes.labels, common)
    sides = [outcomes.count(side & kept) for side in (outside, inside)]
    present = [side.confusion.sum(axis=(1, 2)) > 0 for side in sides]
    interval, p = measure_gap(sides, present)
    return Gap(
        group=group,
        others=others,
        uar=sides[1].total("uar"),
        other_uar=sides[0].total("uar"),
        speakers=(int(present[1].sum()), int(present[0].sum())),
        interval=interval,
        p=p,
    )


def measure_gap(
    sides: list[SpeakerCounts], present: list[np.ndarray]
) -> tuple[Interval | None, float | None]:
    """Interval and p-value of the second side minus the first, by a jackknife over speakers.

    Speakers on both sides are compared with themselves. Strata are the corpora and, within them,
    the sides that a speaker is on.
    """
    if min(each.sum() for each in present) < LEAST_SPEAKERS or not sides[0].complete:
        return None, None
    known = present[0] | present[1]
    _, corpora = np.unique(sides[0].strata, return_inverse=True)
    strata = (corpora * 4 + present[0] * 2 + present[1])[known]
    columns = np.stack([side.columns()[known] for side in sides])
    found, place = jackknife(columns, sides[0].classes, strata), METRICS.index("uar")
    interval = found.interval(place, kind="plain")
    if interval is None:
        return None, None
    ratio = abs(float(found.estimates[place] / found.errors[place]))
    return interval, float(2 * student.sf(ratio, float(found.freedom[place])))
