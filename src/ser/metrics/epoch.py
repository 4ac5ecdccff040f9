"""torchmetrics for the loops of other projects: scores over all batches of an epoch.

They are updated with logits (batch, classes) and labels (batch,), and `compute` returns a scalar.
"""

import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from ser.metrics.scores import scores_from_confusion


class UnweightedAverageRecall(MulticlassConfusionMatrix):
    """The mean recall of the classes that occur, which scikit-learn calls balanced accuracy.

    Macro averages of torchmetrics count a class that is predicted but does not occur as 0.
    """

    def compute(self) -> torch.Tensor:
        scores = scores_from_confusion(super().compute().cpu().numpy())
        return torch.as_tensor(scores.uar).float()


class MacroF1(MulticlassConfusionMatrix):
    """The mean F1 of the classes that occur."""

    def compute(self) -> torch.Tensor:
        scores = scores_from_confusion(super().compute().cpu().numpy())
        return torch.as_tensor(scores.macro_f1).float()
