"""What a set of predictions is worth: scores, intervals and baselines, overall and by group."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import softmax

from ser import metrics
from ser.calibration import (
    ProbabilityScores,
    in_top_two,
    log_losses,
    reliability,
    roc_auc,
    score_probabilities,
)
from ser.intervals import METRICS, Interval, Tally, compute, find_intervals, tally
from ser.metrics import Baselines, Scores, baselines


@dataclass(frozen=True)
class Judgement:
    """All that is told of one set of utterances.

    `calibrated` is what the temperature makes of the probabilities; None where none was fitted.
    `intervals` are by metric, clustered by speaker, and empty where there is one speaker only.
    """

    scores: Scores
    speakers: int
    probabilities: ProbabilityScores
    calibrated: ProbabilityScores | None
    baselines: Baselines
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class SpeakerScores:
    """What is told of the utterances of one speaker, who gives no ground for intervals.

    `confusion` is that of `ser.metrics.Scores`: precision, recall and F1 of each class follow.
    """

    corpus: str
    gender: str
    utterances: int
    accuracy: float
    uar: float
    macro_f1: float
    weighted_f1: float
    top2_accuracy: float
    log_loss: float
    roc_auc: float | None
    calibration_error: float
    confusion: list[list[int]]


@dataclass(frozen=True)
class Predicted:
    """The utterances of a part and what the network said of them.

    `utterances` are rows of a manifest, `logits` (utterances, classes) in the order of `names`.
    """

    utterances: pd.DataFrame
    logits: np.ndarray
    names: tuple[str, ...]
    temperature: float | None = None

    @property
    def labels(self) -> np.ndarray:
        return self.utterances["emotion"].map(self.names.index).to_numpy(np.int64)

    @property
    def predictions(self) -> np.ndarray:
        return self.logits.argmax(axis=1)

    def only(self, rows: np.ndarray) -> "Predicted":
        """The utterances of a mask (utterances,)."""
        return replace(self, utterances=self.utterances[rows], logits=self.logits[rows])

    def tabulate(self) -> pd.DataFrame:
        """One row an utterance: what it is, what it was taken for, the probability of each class.

        The probabilities are those of the network, not calibrated.
        """
        columns = ["id", "corpus", "speaker", "gender", "split", "emotion"]
        table = self.utterances[columns].copy()
        table["predicted"] = [self.names[index] for index in self.predictions]
        probabilities = softmax(self.logits.astype(np.float64), axis=1)
        table[[f"p_{name}" for name in self.names]] = probabilities
        return table


def judge(predicted: Predicted, seed: int = 0) -> Judgement:
    """Judge all utterances together; the seed is that of the bootstrap."""
    labels, logits, temperature = predicted.labels, predicted.logits, predicted.temperature
    scores = metrics.score(labels, predicted.predictions, predicted.names)
    sums = tally_speakers(predicted)
    return Judgement(
        scores=scores,
        speakers=len(set(predicted.utterances["speaker"]) - {""}),
        probabilities=score_probabilities(logits, labels),
        calibrated=(
            None if temperature is None else score_probabilities(logits, labels, temperature)
        ),
        baselines=baselines(scores),
        intervals=find_intervals(sums, seed),
    )


def judge_by(predicted: Predicted, column: str, seed: int = 0) -> dict[str, Judgement]:
    """Judge the utterances of each value of a column on their own; unknown values are left out."""
    values = predicted.utterances[column].to_numpy()
    known = sorted(set(values) - {""})
    return {str(value): judge(predicted.only(values == value), seed) for value in known}


def judge_speakers(predicted: Predicted) -> dict[str, SpeakerScores]:
    """Each known speaker's scores, by the probabilities of the network, not calibrated."""
    predicted = predicted.only((predicted.utterances["speaker"] != "").to_numpy())
    if predicted.utterances.empty:
        return {}
    sums, labels = tally_speakers(predicted), predicted.labels
    groups = predicted.utterances.reset_index(drop=True).groupby("speaker", sort=True)
    facts, rows = groups.first(), groups.indices
    values = compute(sums.columns(), len(predicted.names))
    probabilities = softmax(predicted.logits.astype(np.float64), axis=1)
    return {
        str(speaker): SpeakerScores(
            corpus=str(facts["corpus"].iloc[place]),
            gender=str(facts["gender"].iloc[place]),
            utterances=len(rows[speaker]),
            **dict(zip(METRICS, values[:, place].tolist(), strict=True)),
            roc_auc=roc_auc(probabilities[rows[speaker]], labels[rows[speaker]]),
            calibration_error=reliability(
                probabilities[rows[speaker]], labels[rows[speaker]]
            ).error,
            confusion=sums.confusion[place].tolist(),
        )
        for place, speaker in enumerate(facts.index)
    }


def tally_speakers(predicted: Predicted) -> Tally:
    """The sums by speaker, in the order of their names."""
    labels, logits = predicted.labels, predicted.logits
    return tally(
        predicted.utterances["speaker"].to_numpy(str),
        labels,
        predicted.predictions,
        len(predicted.names),
        (in_top_two(logits, labels), log_losses(logits, labels)),
    )
