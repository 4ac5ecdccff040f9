"""Reasons why adaptation to the clips of a speaker may not help."""

import numpy as np

from ser.errors import amount
from ser.models.standardization import Standardization, Statistics

FEW_CLIPS = 5  # below this, more clips clearly improve the scores
ONE_EMOTION = 0.8  # variation relative to training speakers, below which clips may share an emotion


def find_warnings(standardization: Standardization, statistics: Statistics) -> list[str]:
    """The reasons, in the order of importance; none if there is no reason for doubt."""
    warnings = []
    if statistics.count < FEW_CLIPS:
        warnings.append(
            f"{amount(statistics.count, 'clip')} may not be enough; give {FEW_CLIPS} or more, with"
            " several emotions"
        )
    if statistics.count > 1 and relative_variation(standardization, statistics) < ONE_EMOTION:
        warnings.append(
            "the clips differ little, so they may share one emotion, which adaptation would take"
            " for the usual voice of the speaker; add clips with other emotions"
        )
    return warnings


def relative_variation(standardization: Standardization, statistics: Statistics) -> float:
    """The standard deviation over clips relative to that within a training speaker.

    It is the median over features. A single clip has none.
    """
    variance = statistics.squares / (statistics.count - 1)
    return float(np.median(np.sqrt(variance) / standardization.scale))
