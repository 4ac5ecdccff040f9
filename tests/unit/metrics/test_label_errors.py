import numpy as np
import pandas as pd

from ser.metrics.label_errors import find_label_errors

NAMES = ("sad", "calm", "angry")


def make(emotions: list[str], **columns) -> pd.DataFrame:
    ids = [f"u{row}" for row in range(len(emotions))]
    return pd.DataFrame({"id": ids, "corpus": "c", "speaker": "s", "emotion": emotions}).assign(
        **columns
    )


PROBABILITIES = np.array(
    [
        [0.9, 0.05, 0.05],
        [0.7, 0.2, 0.1],
        [0.05, 0.9, 0.05],
        [0.1, 0.8, 0.1],
        [0.95, 0.03, 0.02],  # labelled calm
        [0.6, 0.35, 0.05],  # labelled calm, but less sad than the sad ones on average
    ]
)
EMOTIONS = ["sad", "sad", "calm", "calm", "calm", "calm"]


def test_a_confident_contradiction_is_suspicious_and_a_weak_one_is_not():
    found = find_label_errors(make(EMOTIONS), PROBABILITIES, NAMES)
    assert found["id"].tolist() == ["u4"]
    row = found.iloc[0]
    assert (row["emotion"], row["predicted"], row["p_label"], row["p_predicted"]) == (
        "calm", "sad", 0.03, 0.95,
    )  # fmt: skip
    assert "agreement" not in found


def test_planted_errors_are_found_first():
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 600)
    logits = generator.normal(0, 1, (600, 3)) + 3 * np.eye(3)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = true.copy()
    labels[:30] = (true[:30] + 1) % 3
    table = make([NAMES[label] for label in labels])
    found = find_label_errors(table, probabilities, NAMES)
    planted = set(table["id"][:30])
    assert set(found["id"][:15]) <= planted
    assert len(planted & set(found["id"])) >= 18


def test_the_votes_of_listeners_are_beside_the_suspicion():
    table = make(EMOTIONS, perceived="sad", agreement=0.2)
    found = find_label_errors(table, PROBABILITIES, NAMES)
    assert found[["perceived", "agreement"]].to_numpy().tolist() == [["sad", 0.2]]


def test_correct_labels_are_not_suspicious():
    found = find_label_errors(make(["sad", "sad", "calm", "calm"]), PROBABILITIES[:4], NAMES)
    assert found.empty
