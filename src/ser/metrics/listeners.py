"""The human ceiling: how well listeners agree with the labels, and the model with listeners."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser.metrics.scores import score

AGREED = 0.5  # share of the votes from which listeners agree with the label


@dataclass(frozen=True)
class Listeners:
    """Listeners and model on the utterances that have votes.

    `human_*` are scores of the listeners' majority against the label (ties and classes that the
    model does not have count as errors), `model_*` of the model on the same utterances.
    `agreement` is the mean share of votes for the label. `agreed_*` are of the utterances on which
    at least half of the votes are for the label, the others `disputed_*`; their UAR is None if
    there are none.
    """

    utterances: int
    agreement: float
    human_accuracy: float | None
    human_uar: float | None
    model_accuracy: float
    model_uar: float
    agreed: int
    agreed_uar: float | None
    disputed_uar: float | None


def compare_with_listeners(
    utterances: pd.DataFrame, predictions: np.ndarray, names: Sequence[str]
) -> Listeners | None:
    """Compare the predicted classes (utterances,) with listeners.

    `utterances` has the columns `emotion`, `agreement` (share of votes for the label) and
    `perceived` (the winners of the vote, `angry:fear` for a tie). None without any vote.
    """
    if "agreement" not in utterances:
        return None
    rows = utterances["agreement"].notna().to_numpy()
    if not rows.any():
        return None
    table, predicted = utterances[rows], predictions[rows]
    labels = table["emotion"].map({name: place for place, name in enumerate(names)}).to_numpy()
    agreed = table["agreement"].to_numpy(float) >= AGREED
    model = score(labels, predicted, names)
    human = score_listeners(table, labels, names)

    def uar(rows: np.ndarray) -> float | None:
        return score(labels[rows], predicted[rows], names).uar if rows.any() else None

    return Listeners(
        utterances=len(table),
        agreement=float(table["agreement"].mean()),
        human_accuracy=human and human[0],
        human_uar=human and human[1],
        model_accuracy=model.accuracy,
        model_uar=model.uar,
        agreed=int(agreed.sum()),
        agreed_uar=uar(agreed),
        disputed_uar=uar(~agreed),
    )


def score_listeners(
    table: pd.DataFrame, labels: np.ndarray, names: Sequence[str]
) -> tuple[float, float] | None:
    """Accuracy and UAR of the listeners' majority, None if it is not given for every utterance."""
    winners = table["perceived"] if "perceived" in table else pd.Series("", table.index)
    if (winners.fillna("") == "").any():
        return None
    places = {name: place for place, name in enumerate(names)}
    majority = winners.map(places).fillna(len(names)).to_numpy(int)  # ties and other classes
    scores = score(labels, majority, [*names, "other"])
    return scores.accuracy, scores.uar
