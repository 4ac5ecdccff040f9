"""Waveforms of unequal length as one tensor."""

from collections.abc import Sequence

import torch

from ser.audio import MIN_SECONDS, SAMPLE_RATE, Waveform


def pad(waveforms: Sequence[Waveform], samples: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad with zeros on the right, to the longest waveform or to `samples` if that is more.

    Returns the values and the mask of what is no padding, both (batch, time). What is shorter
    than MIN_SECONDS counts as so long: the network needs that much.
    """
    least = round(MIN_SECONDS * SAMPLE_RATE)
    longest = max([samples, least, *(len(waveform) for waveform in waveforms)])
    values = torch.zeros(len(waveforms), longest)
    mask = torch.zeros(len(waveforms), longest, dtype=torch.long)
    for place, waveform in enumerate(waveforms):
        values[place, : len(waveform)] = torch.from_numpy(waveform)
        mask[place, : max(len(waveform), least)] = 1
    return values, mask
