"""From the frames of an utterance to one vector: mean, attention, or mean and deviation.

All poolings leave padding out and compute in full precision: a sum of hundreds of frames in bf16
is off by half a percent.
"""

import torch
from torch import nn

from ser.model_config import Pooling


class MeanPooling(nn.Module):
    """The mean of the valid frames, as the Hugging Face classifiers have it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = size

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size) under a mask (batch, frames) to (batch, size)."""
        weights = mask.to(frames.dtype)[..., None]
        return (frames * weights).sum(1) / weights.sum(1)


class AttentionPooling(nn.Module):
    """A weighted mean with learned weights (Mirsamadi et al., 2017)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = size
        self.hidden = nn.Linear(size, size // 2)
        # A bias would move all scores alike, which the softmax undoes: it would get no gradient.
        self.score = nn.Linear(size // 2, 1, bias=False)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size) under a mask (batch, frames) to (batch, size)."""
        given = frames.to(self.hidden.weight.dtype)
        scores = self.score(torch.tanh(self.hidden(given))).float()[..., 0]
        weights = scores.masked_fill(~mask, float("-inf")).softmax(1)
        return (frames * weights[..., None]).sum(1)


class StatisticsPooling(nn.Module):
    """Mean and standard deviation of the valid frames, side by side (x-vectors; Snyder 2018)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = 2 * size

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size) under a mask (batch, frames) to (batch, 2 * size)."""
        weights = mask.to(frames.dtype)[..., None]
        count = weights.sum(1)
        mean = (frames * weights).sum(1) / count
        variance = ((frames - mean[:, None]).square() * weights).sum(1) / count
        # The gradient of a square root is infinite at zero, which a single frame has.
        return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


POOLINGS: dict[Pooling, type[MeanPooling | AttentionPooling | StatisticsPooling]] = {
    Pooling.mean: MeanPooling,
    Pooling.attention: AttentionPooling,
    Pooling.statistics: StatisticsPooling,
}
