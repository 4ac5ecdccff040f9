"""Choices of the acoustic baseline."""

from enum import StrEnum

RECORD = "baseline.json"  # in the folder of a baseline: what was chosen


class FeatureSet(StrEnum):
    """Statistics of MFCC, pitch and energy, or the 88 functionals of eGeMAPS (opensmile)."""

    classic = "classic"
    egemaps = "egemaps"


class Classifier(StrEnum):
    """`auto` takes the better one in cross-validation."""

    svm = "svm"
    logistic = "logistic"
    auto = "auto"
