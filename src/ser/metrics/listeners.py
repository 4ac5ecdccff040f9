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
    there are none. `vote_distance` is the mean total variation distance between the probabilities
    of the model and the distribution of the votes, as far as it is known (`distribute_votes`).
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
    vote_distance: float


def compare_with_listeners(
    utterances: pd.DataFrame,
    predictions: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
) -> Listeners | None:
    """Compare predictions (utterances,) and probabilities (utterances, classes) with listeners.

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
    human, votes = score_listeners(table, labels, names), distribute_votes(table, names)

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
        vote_distance=float(np.abs(votes - probabilities[rows]).sum(axis=1).mean() / 2),
    )


def score_listeners(
    table: pd.DataFrame, labels: np.ndarray, names: Sequence[str]
) -> tuple[float, float] | None:
    """Accuracy and UAR of the listeners' majority, None if it is not given for every utterance."""
    winners = winners_of(table)
    if (winners == "").any():
        return None
    places = {name: place for place, name in enumerate(names)}
    majority = winners.map(places).fillna(len(names)).to_numpy(int)  # ties and other classes
    scores = score(labels, majority, [*names, "other"])
    return scores.accuracy, scores.uar


def winners_of(table: pd.DataFrame) -> pd.Series:
    """The winners of the vote of each utterance; "" if they are not known."""
    found = table["perceived"] if "perceived" in table else pd.Series("", table.index)
    return found.fillna("")


def distribute_votes(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Distributions of votes over the classes (utterances, classes), as far as they are known.

    `agreement` is the share of votes for the label. The others go to the winners of the vote in
    `perceived` (`angry:fear` for a tie), or equally to all other classes if only the label won. An
    utterance without votes has its label (Fayek et al., 2016, "Modeling subjectiveness in emotion
    recognition with deep neural networks").
    """
    rows = zip(table["emotion"], winners_of(table), table["agreement"].astype(float), strict=True)
    return np.stack([distribute(*row, names) for row in rows])


def distribute(emotion: str, perceived: str, share: float, names: Sequence[str]) -> np.ndarray:
    """The distribution (classes,) of one utterance."""
    target, own = np.zeros(len(names)), names.index(emotion)
    if np.isnan(share):
        target[own] = 1
        return target
    others = [names.index(name) for name in perceived.split(":") if name in names]
    others = [place for place in others if place != own]
    others = others or [place for place in range(len(names)) if place != own]
    target[others] = (1 - share) / len(others)
    target[own] = share
    return target
