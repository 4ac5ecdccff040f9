"""Pooling over time: from the frames of an utterance to one vector.

Every pooling ignores padding and computes in full precision: a sum of hundreds of frames in bf16
is off by half a percent.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from ser.config import model as settings
from ser.config.model import Pooling
from ser.errors import UserError
from ser.models.families.base import SILENCE, SPEECH
from ser.models.standardization import Standardization

FLOOR = 1e-6  # the gradient of a square root is infinite at zero, the variance of a single frame


class MeanPooling(nn.Module):
    """The mean of the valid frames, as in the Hugging Face classifiers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = size

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool (batch, frames, size) under a mask (batch, frames) to (batch, size)."""
        weights = mask.to(frames.dtype)[..., None]
        return (frames * weights).sum(1) / weights.sum(1)


class AttentionPooling(nn.Module):
    """A weighted mean with learned weights (Mirsamadi et al., 2017)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = size
        self.hidden = nn.Linear(size, size // 2)
        # A bias would change all scores alike, so the softmax would give it no gradient.
        self.score = nn.Linear(size // 2, 1, bias=False)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool (batch, frames, size) under a mask (batch, frames) to (batch, size)."""
        return (frames * self.weigh(frames, mask)).sum(1)

    def weigh(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Weights (batch, frames, 1) that sum to 1 over the valid frames."""
        given = frames.to(self.hidden.weight.dtype)
        scores = self.score(torch.tanh(self.hidden(given))).float()[..., 0]
        return scores.masked_fill(~mask.bool(), float("-inf")).softmax(1)[..., None]


class AttentiveStatisticsPooling(AttentionPooling):
    """Weighted mean and standard deviation with learned weights (Okabe et al., 2018)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.output_size = 2 * size

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool (batch, frames, size) under a mask (batch, frames) to (batch, 2 * size)."""
        weights = self.weigh(frames, mask)
        mean = (frames * weights).sum(1)
        variance = ((frames - mean[:, None]).square() * weights).sum(1)
        return torch.cat([mean, (variance + FLOOR).sqrt()], dim=1)


class StatisticsPooling(nn.Module):
    """Mean and standard deviation of the valid frames, concatenated (Snyder et al., 2018)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = 2 * size

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool (batch, frames, size) under a mask (batch, frames) to (batch, 2 * size)."""
        weights = mask.to(frames.dtype)[..., None]
        count = weights.sum(1)
        mean = (frames * weights).sum(1) / count
        variance = ((frames - mean[:, None]).square() * weights).sum(1) / count
        return torch.cat([mean, (variance + FLOOR).sqrt()], dim=1)


class FeatureScaler(nn.Module):
    """Standardises pooled features with a fixed mean and scale; the identity until they are set.

    An `adaptable` one also stores how much the training speakers differ, as adaptation needs it.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    spread: torch.Tensor | None

    def __init__(self, size: int, *, adaptable: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("spread", torch.zeros(size) if adaptable else None)

    def reset(self) -> None:
        """Make it the identity; transformers leaves buffers without stored values uninitialised."""
        for buffer, value in ((self.mean, 0.0), (self.scale, 1.0), (self.spread, 0.0)):
            if buffer is not None:
                buffer.fill_(value)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scale features (batch, size)."""
        return (features - self.mean) / self.scale

    @property
    def standardization(self) -> Standardization:
        """The statistics in double precision; without a spread, they cannot be adapted."""
        spread = torch.zeros_like(self.mean) if self.spread is None else self.spread
        mean, scale, spread = (
            each.double().cpu().numpy() for each in (self.mean, self.scale, spread)
        )
        return Standardization(mean, scale, spread)

    @standardization.setter
    def standardization(self, values: Standardization) -> None:
        for name in ("mean", "scale", "spread"):
            buffer = getattr(self, name)
            if buffer is not None:
                buffer.copy_(torch.from_numpy(getattr(values, name)))


def mark_quiet(
    waveforms: torch.Tensor, mask: torch.Tensor, hop: int, floor_db: float
) -> torch.Tensor:
    """The frame mask (batch, frames), in which quiet speech frames count as silence.

    Quiet is more than `-floor_db` below the loudest frame of the same waveform. Waveforms
    (batch, time) are zero where they are padded; a frame begins every `hop` samples.
    """
    samples = waveforms.float().square()
    samples = pad(samples, (0, mask.shape[1] * hop - samples.shape[1]))  # cuts if it is negative
    power = samples.unflatten(1, (mask.shape[1], hop)).mean(2)
    speech = mask == SPEECH
    loudest = power.masked_fill(~speech, 0).amax(1, keepdim=True)
    quiet = speech & (power < loudest * 10 ** (floor_db / 10))
    return torch.where(quiet, SILENCE, mask)


POOLINGS: dict[str, Callable[[int], Any]] = {
    Pooling.attentive_statistics: AttentiveStatisticsPooling,
    Pooling.mean: MeanPooling,
    Pooling.attention: AttentionPooling,
    Pooling.statistics: StatisticsPooling,
}


def register(name: str, pooling: Callable[[int], nn.Module]) -> None:
    """Make a pooling available as `model.pooling=NAME`.

    `pooling(size)` returns a module like those of this file: it has an `output_size`, and pools
    frames (batch, frames, size) under a mask (batch, frames) to (batch, output_size). Raises
    UserError if the name is taken.
    """
    if POOLINGS.setdefault(name, pooling) is not pooling:
        raise UserError(f"a pooling named {name!r} exists; choose another name")
    settings.POOLINGS.add(name)


def build_pooling(name: str, size: int) -> Any:
    """The pooling of that name for frames of this size; raises UserError if there is none."""
    if name not in POOLINGS:
        raise UserError(
            f"there is no pooling {name!r}; choose from {', '.join(POOLINGS)}, or import the module"
            " that registers it"
        )
    return POOLINGS[name](size)
