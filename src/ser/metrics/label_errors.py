"""Suspected label errors: utterances whose label contradicts a confident prediction."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

COLUMNS = ("id", "corpus", "speaker", "emotion", "predicted", "p_label", "p_predicted")
VOTES = ("perceived", "agreement")  # of listeners, if the manifest has them


def find_label_errors(
    utterances: pd.DataFrame, probabilities: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    """The utterances to review, most suspicious first.

    Confident learning (Northcutt, Jiang and Chuang, 2021, "Confident learning: estimating
    uncertainty in dataset labels"): a label is suspicious if another class is more probable and
    at least as probable as it is, on average, for the utterances of that class. `probabilities`
    (utterances, classes) have to be of a model that was not trained on these utterances. Columns
    are COLUMNS and, if listeners voted, VOTES.
    """
    labels = utterances["emotion"].map({name: place for place, name in enumerate(names)})
    true, rows = labels.to_numpy(int), np.arange(len(utterances))
    typical = np.full(len(names), np.inf)  # no utterance is of the other classes
    for place in np.unique(true):
        typical[place] = probabilities[true == place, place].mean()
    confident = np.where(probabilities >= typical, probabilities, -1.0)
    predicted = confident.argmax(axis=1)
    own, other = probabilities[rows, true], probabilities[rows, predicted]
    suspicious = np.flatnonzero((predicted != true) & (other > own) & (confident.max(axis=1) > 0))
    order = suspicious[np.argsort(own[suspicious] - other[suspicious], kind="stable")]
    found = utterances.iloc[order].assign(
        predicted=np.array(names)[predicted[order]],
        p_label=own[order],
        p_predicted=other[order],
    )
    voted = [name for name in VOTES if name in utterances] if has_votes(utterances) else []
    return found[[*COLUMNS, *voted]].reset_index(drop=True)


def has_votes(utterances: pd.DataFrame) -> bool:
    return "agreement" in utterances and bool(utterances["agreement"].notna().any())
