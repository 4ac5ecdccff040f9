import numpy as np
import pandas as pd

from ser.evaluation.misclassified import SECONDS, choose_rows, find_misclassified
from ser.metrics.summary import Predictions


class Audio:
    """Waveforms of 10 s whose samples are the number of their content."""

    def read(self, content: str) -> np.ndarray:
        return np.full(160_000, float(content), np.float32)


def test_the_most_confident_errors_come_first_with_their_audio():
    table = pd.DataFrame(
        {"id": list("abcd"), "corpus": "c", "speaker": "s", "emotion": ["sad", "sad", "calm", "calm"], "content": ["1", "2", "3", "4"]}
    )  # fmt: skip
    logits = np.array([[2.0, 0], [0, 1.0], [3.0, 0], [0, 2.0]])
    predicted = Predictions(table, logits, ("sad", "calm"), temperature=2.0)
    found = find_misclassified(predicted, Audio())  # pyright: ignore[reportArgumentType]
    assert [(error.id, error.true, error.predicted) for error in found] == [
        ("c", "calm", "sad"),
        ("b", "sad", "calm"),
    ]
    assert found[0].confidence == 1 / (1 + np.exp(-3 / 2))
    assert len(found[0].waveform) == SECONDS * 16_000
    assert found[0].waveform[0] == 3


def test_each_frequent_confusion_has_an_example():
    labels = np.array([0] * 5 + [1, 1, 2, 2])
    decisions = np.array([1] * 5 + [0, 0, 2, 0])
    confidence = np.array([0.9, 0.8, 0.85, 0.7, 0.6, 0.5, 0.55, 0.99, 0.4])
    assert choose_rows(labels, decisions, confidence, most=3) == [0, 2, 1, 6, 8]
    assert choose_rows(labels, labels, confidence, most=3) == []
