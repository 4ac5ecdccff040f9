"""torchmetrics for the loops of other projects: scores over all batches of an epoch.

They are updated with logits (batch, classes) and labels (batch,), and `compute` returns a scalar.
"""

from typing import Any

import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from ser.metrics.scores import scores_from_confusion


class EpochScore(MulticlassConfusionMatrix):
    """A score between 0 and 1 that follows from the confusion matrix; higher is better."""

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    score: str  # name of the score in `ser.metrics.scores`

    def compute(self) -> torch.Tensor:
        scores = scores_from_confusion(super().compute().cpu().numpy())
        return torch.as_tensor(getattr(scores, self.score), device=self.device).float()

    def plot(self, val: Any = None, ax: Any = None, *_: Any, **__: Any) -> Any:
        """Plot the score, or the scores of several epochs, as torchmetrics plots a scalar."""
        return self._plot(val, ax)


class UnweightedAverageRecall(EpochScore):
    """The mean recall of the classes that occur, which scikit-learn calls balanced accuracy.

    Macro averages of torchmetrics count a class that is predicted but does not occur as 0.
    """

    score = "uar"


class MacroF1(EpochScore):
    """The mean F1 of the classes that occur."""

    score = "macro_f1"
