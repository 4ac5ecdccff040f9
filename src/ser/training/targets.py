"""Training targets beside the label: distributions of votes, and classes of auxiliary tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from ser.config.model import ModelConfig
from ser.errors import UserError
from ser.metrics.listeners import distribute_votes
from ser.models.network import EmotionNetwork
from ser.training.losses import class_frequencies, compute_class_weights


@dataclass(frozen=True)
class Targets:
    """What the loss of the training part needs beside the labels of a batch; None if nothing.

    `class_weights` and `frequencies` are (classes,); `soft_labels` are (utterances, classes).
    """

    class_weights: Sequence[float] | None = None
    frequencies: Sequence[float] | None = None
    soft_labels: torch.Tensor | None = None
    auxiliary: "AuxiliaryTasks | None" = None


def build_targets(
    config: ModelConfig, utterances: pd.DataFrame, labels: Sequence[str], network: EmotionNetwork
) -> Targets:
    """The targets of the utterances of the training part, as the settings ask for them."""
    emotions, tasks = utterances["emotion"].tolist(), None
    if config.auxiliary:
        size = network.classifier.in_features
        tasks = AuxiliaryTasks(size, utterances, config.auxiliary, config.adversarial)
    return Targets(
        class_weights=compute_class_weights(config, labels, emotions),
        frequencies=class_frequencies(labels, emotions),
        soft_labels=soften_labels(utterances, labels) if config.soft_labels else None,
        auxiliary=tasks,
    )


def soften_labels(utterances: pd.DataFrame, labels: Sequence[str]) -> torch.Tensor:
    """Distributions of votes over the classes (utterances, classes); see `distribute_votes`.

    Raises UserError if no utterance has votes.
    """
    if utterances["agreement"].isna().all():
        raise UserError(
            "model.soft_labels=true needs votes: data.votes.cremad=FILE, or a data.table with the"
            " columns agreement and perceived"
        )
    return torch.from_numpy(distribute_votes(utterances, labels)).float()


class ReverseGradient(torch.autograd.Function):
    """The identity, with the opposite gradient (Ganin and Lempitsky, 2015)."""

    @staticmethod
    def forward(ctx: object, features: torch.Tensor) -> torch.Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:  # pyright: ignore
        return -gradient


class AuxiliaryTasks(nn.Module):
    """Linear classifiers of gender, corpus or speaker on the pooled features.

    An adversarial task learns its classes, while the network learns features that hide them.
    Utterances for which a class is unknown do not count.
    """

    def __init__(
        self,
        size: int,
        utterances: pd.DataFrame,
        weights: dict[str, float],
        adversarial: Sequence[str],
    ) -> None:
        super().__init__()
        self.weights, self.adversarial = weights, frozenset(adversarial)
        self.targets: dict[str, torch.Tensor] = {}
        heads = {}
        for task in weights:
            codes, names = pd.factorize(utterances[task].replace("", None), sort=True)
            if len(names) < 2:
                raise UserError(
                    f"model.auxiliary.{task}: the training part has fewer than 2 classes"
                )
            self.targets[task] = torch.from_numpy(codes.astype(np.int64))  # -1: unknown
            heads[task] = nn.Linear(size, len(names))
        self.heads = nn.ModuleDict(heads)

    def forward(self, features: torch.Tensor, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """The loss of each task for features (batch, size) of these rows of the training part."""
        losses = {}
        for task, head in self.heads.items():
            # Without `non_blocking` every step would wait for the GPU.
            labels = self.targets[task][list(rows)].to(features.device, non_blocking=True)
            given = ReverseGradient.apply(features) if task in self.adversarial else features
            known = (labels >= 0).sum().clamp(min=1)
            total = nn.functional.cross_entropy(
                head(given), labels, ignore_index=-1, reduction="sum"
            )
            losses[task] = total / known
        return losses

    def total(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum of the losses."""
        return torch.stack([self.weights[task] * loss for task, loss in losses.items()]).sum()
