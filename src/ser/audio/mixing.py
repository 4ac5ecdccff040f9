"""From several channels to one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser.audio.recording import SILENCE, Block, Mono, Samples, Waveform
from ser.errors import UserError

# The mean of n unrelated channels keeps 1/n of their mean energy. Less than this share of that is
# left of two channels whose correlation is below -0.6: of a voice with opposite phase.
CANCELLED = 0.4


class Mixer:
    """Mixes the blocks of a recording to their mean, or selects the channel `only`.

    Channels that cancel each other are repaired: from the first block on in which they do, one
    channel is used, and `note` says which.
    """

    def __init__(self, only: int | None = None) -> None:
        self.note = ""
        self._only = only

    def __call__(self, block: Block) -> Mono:
        """The mono samples (time,) of a block (time, channels).

        Integers stay integers if the channels are equal or only one is used.
        """
        channels = block.shape[1]
        if self._only is not None and self._only < channels:
            return block[:, self._only]
        # Two equal channels are one: five RAVDESS files are stereo so.
        if channels == 1 or (block == block[:, :1]).all():
            return block[:, 0]
        with np.errstate(all="ignore"):  # samples may be anything; they are checked later
            mono = block.mean(axis=1, dtype=np.float32)
            if block.dtype == np.int16:
                mono *= np.float32(1 / 32768)
            self._only = find_cancelled(block, mono)
        if self._only is None:
            return mono
        self.note = f"opposite phase: only channel {self._only + 1} of {channels} is used"
        return block[:, self._only]


def find_cancelled(block: Block, mono: Waveform) -> int | None:
    """The first of the loudest channels of a block (time, channels) that cancel each other.

    None if they do not.
    """
    scale = 32768.0 if block.dtype == np.int16 else 1.0
    energies = block.var(axis=0, dtype=np.float64) / scale**2
    mean = float(energies.mean())
    if not mean > SILENCE**2:  # nothing to lose, or not finite
        return None
    kept = float(mono.var(dtype=np.float64)) * block.shape[1] / mean
    return int((energies > 0.99 * energies.max()).argmax()) if kept < CANCELLED else None


def as_mono(samples: Samples, mix: Mixer | None = None) -> Waveform:
    """Floats (time,) of full scale 1, of signed integers or floats (time,) or (time, channels).

    Afterwards the note of `mix` says how they were repaired.
    """
    values: NDArray[Any] = np.asarray(samples)
    if values.ndim not in (1, 2):
        raise UserError(f"samples of shape {values.shape}: give (time,) or (time, channels)")
    if np.issubdtype(values.dtype, np.signedinteger):
        values = values / -float(np.iinfo(values.dtype).min)
    elif not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"samples of type {values.dtype}: give floating-point or signed ones")
    floats = values.astype(np.float32)
    return floats if floats.ndim == 1 else (mix or Mixer())(floats)
