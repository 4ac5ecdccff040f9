"""Whether the samples of a recording can be speech: one rule for training and prediction."""

import math

import numpy as np

from ser.audio.recording import LOUDEST, SILENCE, AudioError, Fault, Mono

COARSE = 64  # steps of 16 bits; a recording with a smaller range is quiet, not clipped
CLIPPED = 0.1  # share of samples that stay at the limit
FEW_SAMPLES = 100  # in fewer, a share of a tenth means nothing
NEAR = 0.999  # of the largest sample, from which on a sample is at the limit


class Levels:
    """Counts the samples (time,) of a recording that are at its limit, block by block.

    They are those at the rate of the file: resampling turns a constant offset into a click, and
    clipped samples into a wave.
    """

    def __init__(self) -> None:
        self._lowest, self._highest = math.inf, -math.inf
        self._full_scale = 1
        self._samples = self._at_limit = self._staying = 0

    def add(self, block: Mono) -> None:
        if not len(block):
            return
        self._full_scale = 32768 if block.dtype == np.int16 else 1
        before = self._limit
        # Minima and maxima that are not numbers stay so.
        self._lowest = float(np.minimum(self._lowest, block.min()))
        self._highest = float(np.maximum(self._highest, block.max()))
        self._samples += len(block)
        if not before > NEAR * self._limit:  # what was counted is below the limit
            self._at_limit = self._staying = 0
        limit = NEAR * self._limit
        if block.dtype == np.int16:  # comparing integers takes a third of the time
            limit = math.ceil(limit)
        at_limit = (block >= limit) | (block <= -limit)
        self._at_limit += np.count_nonzero(at_limit)
        # Like both neighbours; no tone stays there.
        self._staying += np.count_nonzero(at_limit[1:-1] & at_limit[:-2] & at_limit[2:])

    @property
    def _limit(self) -> float:
        return max(-self._lowest, self._highest)

    @property
    def clipped(self) -> float:
        """The share of samples at the limit; 0 if there are too few steps to tell."""
        if self._highest - self._lowest < COARSE / 32768 * self._full_scale:
            return 0.0
        return self._at_limit / self._samples

    def check(self) -> None:
        """Raise AudioError if there is no sound."""
        if not self._samples:
            raise AudioError(Fault.EMPTY)
        if not self._limit <= LOUDEST * self._full_scale:  # or not a number
            raise AudioError(Fault.NOT_FINITE)
        if self._highest - self._lowest < SILENCE * self._full_scale:  # or a constant offset
            raise AudioError(Fault.SILENT)

    def find_clipping(self) -> AudioError | None:
        """The error that keeps a clipped recording out of training."""
        share = self.clipped
        stays = self._staying > CLIPPED * (self._samples - 2)
        if share > CLIPPED and self._samples > FEW_SAMPLES and stays:
            return AudioError(Fault.CLIPPED, f"{share:.0%} of the samples are at the limit")
        return None
