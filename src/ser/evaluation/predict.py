"""Predict the utterances of a manifest as `Predictor` predicts recordings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from ser.audio.recording import Waveform, Waveforms
from ser.inference.pending import POOL
from ser.inference.predictor import Predictor
from ser.inference.windows import cut_blocks, not_silent

Run = Callable[[Sequence[Waveform]], NDArray[np.float32]]


@dataclass(frozen=True)
class WindowLogits:
    """Logits (windows, classes) and the utterance of each window (windows,)."""

    logits: NDArray[np.float32]
    rows: NDArray[np.int64]

    def combine(self, temperature: float | None = None) -> NDArray[np.float64]:
        """Logits (utterances, classes) that the temperature divides, like those of one window.

        The probabilities of an utterance are the mean over its windows, as in `Predictor`.
        """
        divisor, logits = temperature or 1.0, self.logits.astype(np.float64)
        first, counts = self._groups()
        probabilities = np.exp(log_softmax(logits / divisor, axis=1))
        means = np.add.reduceat(probabilities, first) / counts[:, None]
        combined = divisor * np.log(np.maximum(means, np.finfo(float).tiny))
        return np.where((counts == 1)[:, None], logits[first], combined)

    def _groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the windows of each utterance begin, and how many there are."""
        _, first, counts = np.unique(self.rows, return_index=True, return_counts=True)
        return first, counts


@dataclass(frozen=True)
class WindowFeatures:
    """Pooled features (windows, size) and the utterance of each window (windows,)."""

    features: NDArray[np.float32]
    rows: NDArray[np.int64]

    def find(self, utterances: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows of some utterances."""
        return np.flatnonzero(np.isin(self.rows, utterances))


def predict_utterances(
    predictor: Predictor, waveforms: Waveforms, batch_size: int = 16, progress: Any = None
) -> WindowLogits:
    """The logits of all windows, in the order of the utterances; see `run_windows`."""
    return WindowLogits(*run_windows(predictor, waveforms, batch_size, progress, predictor.logits))


def embed_utterances(
    predictor: Predictor, waveforms: Waveforms, batch_size: int = 16, progress: Any = None
) -> WindowFeatures:
    """The pooled features of all windows, in the order of the utterances; see `run_windows`."""
    run = predictor.features
    return WindowFeatures(*run_windows(predictor, waveforms, batch_size, progress, run))


def run_windows(
    predictor: Predictor, waveforms: Waveforms, batch_size: int, progress: Any, run: Run
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What `run` returns for all windows (windows, ...), and their utterances (windows,).

    An utterance longer than `predictor.max_seconds` is cut into windows of that length, and
    silent windows are left out, as `Predictor` does with a recording. Windows of similar length
    share a batch.
    """
    rows: list[int] = []
    found: list[NDArray[np.float32]] = []
    for pool in pools(predictor, waveforms):
        rows += [row for row, _ in pool]
        found.append(run_pool([window for _, window in pool], batch_size, run))
        if progress is not None:
            progress(rows[-1] + 1)
    return np.concatenate(found), np.array(rows)


def pools(predictor: Predictor, waveforms: Waveforms) -> Iterator[list[tuple[int, Waveform]]]:
    """Windows with the row of their utterance, many at a time."""
    config = predictor.check_windows(None)
    pool: list[tuple[int, Waveform]] = []
    for row in range(len(waveforms)):
        windows = [window.waveform for window in cut_blocks([waveforms[row]], config)]
        kept = [window for window in windows if not_silent(window)] or windows[:1]
        pool += [(row, window) for window in kept]
        if len(pool) >= POOL:
            yield pool
            pool = []
    if pool:
        yield pool


def run_pool(windows: Sequence[Waveform], batch_size: int, run: Run) -> NDArray[np.float32]:
    """What `run` returns for windows (windows, ...), computed in batches of similar length."""
    order = np.argsort([len(window) for window in windows], kind="stable")
    starts = range(0, len(order), batch_size)
    batches = [order[start : start + batch_size] for start in starts]
    found = [run([windows[place] for place in places]) for places in batches]
    return np.concatenate(found)[np.argsort(order)]
