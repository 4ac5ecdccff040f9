"""The most confident errors, with their audio: labels of acted corpora are not always right."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ser.audio.cache import AudioCache
from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.metrics.summary import Predictions

MOST = 12  # the most confident errors
CONFUSIONS = 12  # one more error for each of the most frequent confusions
SECONDS = 6.0  # of audio in a page


@dataclass(frozen=True)
class Misclassification:
    """A misclassified utterance, the probability of its prediction, and its 16 kHz waveform."""

    id: str
    corpus: str
    speaker: str
    true: str
    predicted: str
    confidence: float
    waveform: Waveform


def find_misclassified(
    predicted: Predictions, audio: AudioCache, most: int = MOST
) -> list[Misclassification]:
    """The most confident errors, and examples of the most frequent confusions behind them.

    Each part is sorted by confidence, which is calibrated if there is a temperature.
    """
    confidence, decisions = predicted.probabilities.max(axis=1), predicted.predictions
    rows = choose_rows(predicted.labels, decisions, confidence, most)
    return [
        Misclassification(
            id=str(row.id),
            corpus=str(row.corpus),
            speaker=str(row.speaker),
            true=str(row.emotion),
            predicted=predicted.names[decisions[place]],
            confidence=float(confidence[place]),
            waveform=audio.read(str(row.content))[: round(SECONDS * SAMPLE_RATE)],
        )
        for place, row in zip(rows, predicted.utterances.iloc[rows].itertuples(), strict=True)
    ]


def choose_rows(
    labels: np.ndarray, decisions: np.ndarray, confidence: np.ndarray, most: int
) -> list[int]:
    """The rows of the most confident errors, then one of each frequent confusion not among them."""
    wrong = np.flatnonzero(decisions != labels)
    ordered = wrong[np.argsort(-confidence[wrong], kind="stable")]
    chosen = ordered[:most].tolist()
    pairs = list(zip(labels[ordered].tolist(), decisions[ordered].tolist(), strict=True))
    shown, examples = set(pairs[:most]), {}
    for row, pair in zip(ordered.tolist(), pairs, strict=True):
        if pair not in shown:
            examples.setdefault(pair, row)
    counts = Counter(pairs)
    frequent = sorted(examples, key=lambda pair: -counts[pair])[:CONFUSIONS]
    return chosen + sorted((examples[pair] for pair in frequent), key=lambda row: -confidence[row])
