"""Standardise pooled features by speaker or corpus, without labels.

A model with a linear head on standardised features can be adapted to a new speaker from a few
unlabelled recordings. Their mean replaces the mean of the training speakers, shrunk towards it if
there are few of them (empirical Bayes). The same holds for corpora instead of speakers. Source:
Kaya and Karpov (2018), Neurocomputing 275, 1028-1034.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]
PRIOR_CLIPS = 10  # the variance of the training speakers weighs as much as this many clips


@dataclass(frozen=True)
class Statistics:
    """Number of clips, mean (size,) and sum of squared deviations (size,) of their features."""

    count: int
    mean: Features
    squares: Features

    @classmethod
    def of(cls, features: Features) -> "Statistics":
        """The statistics of features (clips, size). Raises ValueError without any clip."""
        if len(features) == 0:
            raise ValueError("statistics need at least one clip")
        features = features.astype(np.float64)
        mean = features.mean(axis=0)
        return cls(len(features), mean, np.square(features - mean).sum(axis=0))


@dataclass(frozen=True)
class Standardization:
    """The mean and scale (size,) that standardise features, and how much groups differ.

    `mean` and `scale` are those of an average training group: the mean of the group means, and the
    standard deviation within a group. `spread` is the variance between group means relative to the
    variance within a group; it is 0 if there is only one group, and adaptation has no effect.
    """

    mean: Features
    scale: Features
    spread: Features

    @classmethod
    def fit(cls, features: Features, groups: Sequence[str]) -> "Standardization":
        """Fit to training features (utterances, size); an empty group name means unknown.

        Utterances of unknown groups are left out, unless all are unknown.
        """
        names = np.asarray(groups, dtype=str)
        known = sorted(set(names.tolist()) - {""}) or [""]
        each = [Statistics.of(features[names == name]) for name in known]
        means = np.stack([one.mean for one in each])
        freedom = max(1, sum(one.count - 1 for one in each))
        within = np.sum([one.squares for one in each], axis=0) / freedom
        within = np.where(within > 0, within, 1.0)
        mean = means.mean(axis=0)
        between = means.var(axis=0, ddof=1) if len(each) > 1 else np.zeros_like(mean)
        return cls(mean, np.sqrt(within), between / within)

    @property
    def adapts(self) -> bool:
        """Whether training groups differ, so that new groups can be adapted to."""
        return bool(np.any(self.spread > 0))

    def adapt(self, statistics: Statistics) -> "Standardization":
        """The standardisation for a group with these statistics.

        It tends to that of the training groups for few clips and to that of the group for many,
        sooner for a group that is unlike the training groups.
        """
        count, within = statistics.count, np.square(self.scale)
        # Posterior mean: the fewer clips, and the less groups differ, the less it moves.
        spread = self.spread * self.find_distance(statistics)
        share = count * spread / (1 + count * spread)
        mean = self.mean + share * (statistics.mean - self.mean)
        freedom = count - 1
        variance = (statistics.squares + PRIOR_CLIPS * within) / (freedom + PRIOR_CLIPS)
        return Standardization(mean, np.sqrt(variance), self.spread)

    def find_distance(self, statistics: Statistics) -> float:
        """The squared distance of a group from the average one, relative to training groups.

        It is the mean over features, without what chance adds with few clips, and at least 1, which
        is that of a typical training group.
        """
        if not self.adapts:
            return 1.0
        squares = np.square((statistics.mean - self.mean) / self.scale)
        return max(1.0, float((squares.mean() - 1 / statistics.count) / self.spread.mean()))

    def apply(self, features: Features) -> Features:
        """Standardised features (utterances, size)."""
        return (features - self.mean) / self.scale

    def apply_by_group(
        self, features: Features, groups: Sequence[str], reference: Features | None = None
    ) -> Features:
        """Features (utterances, size) standardised within each group, by all of its utterances.

        The statistics are those of the reference (utterances, size), by default of the features.
        Utterances of unknown groups are standardised as those of an average training group.
        """
        reference = features if reference is None else reference
        names, scaled = np.asarray(groups, dtype=str), self.apply(features)
        for name in set(names.tolist()) - {""}:
            rows = names == name
            scaled[rows] = self.adapt(Statistics.of(reference[rows])).apply(features[rows])
        return scaled
