"""Tests of differences that treat the speaker as the unit."""

from itertools import product

import numpy as np

from ser.metrics.intervals import LEAST_SPEAKERS, SpeakerCounts
from ser.metrics.scores import divide

ALPHA = 0.05
EXACT = 12  # speakers up to which all sign patterns are tried: 4,096
DRAWS = 10_000


def compare_uar(first: SpeakerCounts, second: SpeakerCounts, seed: int = 0) -> float | None:
    """The p-value of the hypothesis that two systems have the same UAR on the same utterances.

    Both have the same speakers in the same order. It is a paired permutation test (Good, 2005,
    "Permutation, parametric and bootstrap tests of hypotheses"): if the systems are equally good,
    swapping their predictions for any speaker changes nothing. With n speakers p is 2 / 2^n or
    more, so fewer than 6 speakers never give p < 0.05. None with too few or unknown speakers.
    """
    if first.speakers < LEAST_SPEAKERS or not first.complete:
        return None
    return flip_signs(second_minus_first(first, second), seed)


def second_minus_first(first: SpeakerCounts, second: SpeakerCounts) -> np.ndarray:
    """How much each speaker (speakers,) contributes to the difference of the UARs, their sum."""
    hits = [np.diagonal(each.confusion, axis1=1, axis2=2) for each in (first, second)]
    support = first.confusion.sum(axis=(0, 2))
    gains = divide(hits[1] - hits[0], np.broadcast_to(support, hits[0].shape))
    return gains.sum(axis=1) / (support > 0).sum()


def flip_signs(gains: np.ndarray, seed: int = 0) -> float:
    """The two-sided p-value of the hypothesis that gains (units,) are symmetric about 0."""
    units = len(gains)
    if units <= EXACT:
        signs = np.array(list(product((1, -1), repeat=units)))
    else:
        signs = np.random.default_rng(seed).choice((1, -1), (DRAWS, units))
        signs[0] = 1  # the observed pattern is one of the draws
    sums = np.abs(signs @ gains)
    return float((sums >= abs(gains.sum()) - 1e-12).mean())


def holm(values: list[float | None]) -> list[float | None]:
    """p-values adjusted for being tested together (Holm, 1979); None stays None."""
    order = sorted((value, place) for place, value in enumerate(values) if value is not None)
    adjusted, least = list(values), 0.0
    for rank, (value, place) in enumerate(order):
        least = max(least, min(1.0, value * (len(order) - rank)))
        adjusted[place] = least
    return adjusted
