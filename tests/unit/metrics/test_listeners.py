import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ser.metrics.listeners import compare_with_listeners

NAMES = ("sad", "calm")
TABLE = pd.DataFrame(
    [("sad", 1.0, "sad"), ("sad", 0.5, "sad:calm"), ("calm", 0.0, "fear"), ("calm", 0.8, "calm"), ("calm", np.nan, "")],
    columns=pd.Index(["emotion", "agreement", "perceived"]),
)  # fmt: skip
PREDICTED = np.array([0, 1, 0, 1, 0])
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])


def compare(table: pd.DataFrame = TABLE):
    found = compare_with_listeners(table, PREDICTED, PROBABILITIES, NAMES)
    assert found is not None
    return found


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_listeners_and_model_are_scored_on_the_utterances_with_votes():
    found = compare()
    assert found.utterances == 4
    assert found.agreement == pytest.approx((1 + 0.5 + 0 + 0.8) / 4)
    # A tie and a class that the model does not have are errors of the listeners.
    assert found.human_accuracy == 2 / 4
    expected = balanced_accuracy_score([0, 0, 1, 1], [0, 2, 2, 1])
    assert found.human_uar == pytest.approx(expected)
    assert found.model_uar == pytest.approx(balanced_accuracy_score([0, 0, 1, 1], [0, 1, 0, 1]))
    assert (found.agreed, found.agreed_uar, found.disputed_uar) == (3, (1 / 2 + 1) / 2, 0)


def test_the_distance_to_the_distribution_of_votes():
    votes = [1.0, 0.5, 1.0, 0.2]  # for sad; a vote for a class of no name goes to the other class
    expected = np.mean(np.abs(np.subtract(votes, PROBABILITIES[:4, 0])))
    assert compare().vote_distance == pytest.approx(expected)


def test_agreement_without_winners_has_no_human_score():
    found = compare(TABLE.drop(columns="perceived"))
    assert (found.human_uar, found.human_accuracy) == (None, None)
    assert found.model_uar == pytest.approx(0.5)


def test_without_votes_there_is_nothing_to_compare():
    table = TABLE.assign(agreement=np.nan)
    assert compare_with_listeners(table, PREDICTED, PROBABILITIES, NAMES) is None
