"""Cross-entropy and focal loss, smoothed and weighted by class; mixup."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ser.model_config import LossKind, ModelConfig


class EmotionLoss(nn.Module):
    """The training loss of logits (batch, classes) against labels (batch,).

    The focal loss (Lin et al., 2017) multiplies each term by (1 - p) ** gamma, p the probability
    given to the label.
    """

    weights: torch.Tensor | None

    def __init__(self, config: ModelConfig, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.smoothing = config.label_smoothing
        self.gamma = config.focal_gamma if config.loss == LossKind.focal else 0.0
        # Not in the checkpoint: `weigh_classes` gives the same for the same settings and data.
        tensor = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weights", tensor, persistent=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean over the batch of what each utterance costs, times the weight of its class."""
        terms = cross_entropy(
            logits, labels, self.weights, reduction="none", label_smoothing=self.smoothing
        )
        if self.gamma > 0:
            chances = logits.softmax(1).gather(1, labels[:, None])[:, 0]
            terms = terms * (1 - chances) ** self.gamma
        return terms.mean()


def weigh_classes(
    config: ModelConfig, labels: Sequence[str], emotions: Sequence[str]
) -> list[float] | None:
    """The weight of each class by the settings and the emotions of the training part.

    `balanced` is in inverse proportion to how often an emotion occurs, as in scikit-learn; an
    emotion that does not occur weighs 1. Their mean over the utterances is 1: torch divides by the
    weights in each batch instead, so that in a batch of one they would do nothing. Raises
    ValueError where all emotions that occur weigh nothing.
    """
    if config.class_weights is None:
        return None
    counts = [sum(emotion == label for emotion in emotions) for label in labels]
    if isinstance(config.class_weights, dict):
        given = [float(config.class_weights.get(label, 1.0)) for label in labels]
        total = sum(weight * count for weight, count in zip(given, counts, strict=True))
        if total == 0:
            raise ValueError("model.class_weights leaves no emotion of the training part a weight")
        return [weight * len(emotions) / total for weight in given]
    present = sum(count > 0 for count in counts)
    return [len(emotions) / (present * count) if count else 1.0 for count in counts]


@dataclass(frozen=True)
class Mixture:
    """A batch mixed with its own utterances in another order, and how much is of the first."""

    inputs: torch.Tensor
    mask: torch.Tensor
    partners: torch.Tensor
    share: float

    def loss(
        self, criterion: nn.Module, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        first, second = criterion(logits, labels), criterion(logits, labels[self.partners])
        return self.share * first + (1 - self.share) * second


def mix(
    inputs: torch.Tensor, mask: torch.Tensor, alpha: float, generator: np.random.Generator
) -> Mixture:
    """Mixup (Zhang et al., 2018) of waveforms (batch, time), or of hidden states likewise.

    Both are (batch, time, ...) under a mask (batch, time).
    """
    share = float(generator.beta(alpha, alpha))
    partners = torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device)
    mixed = share * inputs + (1 - share) * inputs[partners]
    return Mixture(mixed, torch.maximum(mask, mask[partners]), partners, share)
