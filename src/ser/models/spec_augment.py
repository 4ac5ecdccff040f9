"""SpecAugment (Park et al., 2019): random spans of time steps and features are masked.

Spans are drawn on the device of the features, so that nothing waits for a GPU, from the generator
that training seeds for every batch. They lie within the valid frames of each clip.
"""

from collections.abc import Sequence

import torch


def draw_spans(lengths: torch.Tensor, size: int, share: float, span: int) -> torch.Tensor:
    """A mask (rows, size) of disjoint spans within the first `lengths` (rows,) steps of each row.

    The number of spans is rounded up or down at random, so that the mean masked share is `share`,
    or less if the spans do not fit. A row that is shorter than a span is masked as a whole or
    not at all.
    """
    device, rows, most = lengths.device, len(lengths), int(share * size / span) + 1
    width = lengths.clamp(max=span)
    count = (share * lengths / width + torch.rand(rows, device=device)).long()
    count = count.minimum(lengths // width)
    free = lengths - count * width  # steps outside the spans
    starts = (torch.rand(rows, most, device=device) * (free + 1)[:, None]).long()
    number = torch.arange(most, device=device)
    starts = torch.where(number < count[:, None], starts.minimum(free[:, None]), size)
    # Sorted places among the free steps, moved on by the spans before: no two spans overlap.
    starts = starts.sort(1).values + number * width[:, None]
    steps = torch.arange(size, device=device)
    inside = (steps >= starts[..., None]) & (steps < (starts + width[:, None])[..., None])
    return inside.any(1)


def mask_spans(
    frames: torch.Tensor,
    lengths: torch.Tensor | Sequence[int],
    config: object,
    fill: torch.Tensor | float,
) -> torch.Tensor:
    """Frames (batch, time, size) with spans of time set to `fill` and of features set to 0.

    `lengths` (batch,) counts the valid frames. Shares and span lengths are `mask_time_prob`,
    `mask_time_length`, `mask_feature_prob` and `mask_feature_length` of a Hugging Face
    configuration.
    """
    batch, time, size = frames.shape
    share = float(getattr(config, "mask_time_prob", 0.0))
    if share > 0:
        valid = torch.as_tensor(lengths, device=frames.device)
        spans = draw_spans(valid, time, share, int(getattr(config, "mask_time_length", 10)))
        value = torch.as_tensor(fill, dtype=frames.dtype)
        frames = torch.where(spans[..., None], value, frames)
    share = float(getattr(config, "mask_feature_prob", 0.0))
    if share > 0:
        whole = torch.full((batch,), size, device=frames.device)
        span = min(size, int(getattr(config, "mask_feature_length", 10)))
        spans = draw_spans(whole, size, share, span)
        frames = frames.masked_fill(spans[:, None], 0.0)
    return frames
