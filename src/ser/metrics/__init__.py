"""Scores of predictions: `from ser.metrics import score`."""

from typing import TYPE_CHECKING, Any

from ser.metrics.scores import (
    Baselines,
    ClassScores,
    Scores,
    baselines,
    score,
    scores_from_confusion,
)

if TYPE_CHECKING:
    from ser.metrics.epoch import MacroF1, UnweightedAverageRecall

__all__ = [
    "Baselines",
    "ClassScores",
    "MacroF1",
    "Scores",
    "UnweightedAverageRecall",
    "baselines",
    "score",
    "scores_from_confusion",
]


def __getattr__(name: str) -> Any:
    """Import the torchmetrics classes on first use, because they import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ser.metrics import epoch

    return getattr(epoch, name)
