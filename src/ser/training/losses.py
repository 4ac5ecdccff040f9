"""Cross-entropy and focal loss with label smoothing and class weights; mixup."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ser.config.model import LossKind, ModelConfig
from ser.errors import UserError
from ser.models.families.base import SPEECH


class EmotionLoss(nn.Module):
    """The training loss of logits (batch, classes) for labels (batch,) or (batch, classes).

    Labels with two dimensions are distributions over the classes. The focal loss (Lin et al., 2017)
    multiplies the loss of an utterance by (1 - p) ** gamma, with p the probability of its label. A
    class weight multiplies the whole loss of an utterance: torch would weight the smoothing term by
    the weights of all classes instead, which gives rare classes most of it. Logit adjustment (Menon
    et al., 2021) adds the log frequencies (classes,) of the classes, times its strength, to the
    logits, in training only, so that rare classes are not disadvantaged in prediction.
    """

    weights: torch.Tensor | None
    adjustment: torch.Tensor | None

    def __init__(
        self,
        config: ModelConfig,
        weights: Sequence[float] | None = None,
        frequencies: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.smoothing = config.label_smoothing
        self.gamma = config.focal_gamma if config.loss == LossKind.focal else 0.0
        # Not in the checkpoint: the same settings and data give the same weights.
        tensor = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weights", tensor, persistent=False)
        shift = None
        if config.logit_adjustment > 0 and frequencies is not None:
            shift = config.logit_adjustment * torch.tensor(frequencies).float().log()
        self.register_buffer("adjustment", shift, persistent=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean over the batch."""
        if self.adjustment is not None:
            logits = logits + self.adjustment
        losses = cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        if self.weights is not None:
            losses = losses * expect(self.weights.expand_as(logits), labels)
        if self.gamma > 0:
            losses = losses * (1 - expect(logits.softmax(1), labels)) ** self.gamma
        return losses.mean()


def expect(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Values (batch, classes) at labels (batch,), or their mean under distributions, (batch,)."""
    if labels.ndim == 2:
        return (values * labels).sum(1)
    return values.gather(1, labels[:, None])[:, 0]


def class_frequencies(labels: Sequence[str], emotions: Sequence[str]) -> list[float]:
    """The share of each class among the emotions; a class that does not occur counts once."""
    found = Counter(emotions)
    counts = [max(1, found[label]) for label in labels]
    return [count / sum(counts) for count in counts]


def compute_class_weights(
    config: ModelConfig, labels: Sequence[str], emotions: Sequence[str]
) -> list[float] | None:
    """The weight of each class for the emotions of the training part; None for equal weights.

    `balanced` is inversely proportional to the class frequency, as in scikit-learn; a class that
    does not occur has weight 1. The mean over the utterances is 1, so that weights also work in
    batches of one. Raises UserError if all classes that occur have weight 0.
    """
    if config.class_weights is None:
        return None
    found = Counter(emotions)
    counts = [found[label] for label in labels]
    if isinstance(config.class_weights, dict):
        given = [float(config.class_weights.get(label, 1.0)) for label in labels]
        total = sum(weight * count for weight, count in zip(given, counts, strict=True))
        if total == 0:
            raise UserError(
                "model.class_weights gives weight 0 to every class of the training part"
            )
        return [weight * len(emotions) / total for weight in given]
    present = sum(count > 0 for count in counts)
    return [len(emotions) / (present * count) if count else 1.0 for count in counts]


@dataclass(frozen=True)
class Mixture:
    """A batch mixed with its own utterances in another order; `share` is that of the first."""

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
    """Mixup (Zhang et al., 2018) of inputs (batch, time, ...) with masks (batch, time).

    A frame is speech if it is speech in one of the two utterances.
    """
    share = float(generator.beta(alpha, alpha))
    order = torch.from_numpy(generator.permutation(len(inputs)))
    partners = order.to(inputs.device, non_blocking=True)
    mixed = share * inputs + (1 - share) * inputs[partners]
    spoken = (mask == SPEECH) | (mask[partners] == SPEECH)
    merged = torch.where(spoken, SPEECH, torch.maximum(mask, mask[partners]))
    return Mixture(mixed, merged, partners, share)
