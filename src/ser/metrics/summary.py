"""Predictions and their scores, intervals and baselines: overall, by group and by speaker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import log_softmax, softmax

from ser.metrics.calibration import (
    ProbabilityScores,
    TemperatureFit,
    in_top_two,
    log_losses,
    reliability,
    roc_auc,
    score_probabilities,
)
from ser.metrics.gaps import Outcomes
from ser.metrics.intervals import (
    METRICS,
    Interval,
    SpeakerCounts,
    count_by_speaker,
    explain_missing,
    find_intervals,
)
from ser.metrics.scores import Baselines, Scores, baselines, score


@dataclass(frozen=True)
class GroupMetrics:
    """All metrics of a set of utterances.

    `calibrated` is None without a temperature. `intervals` are by metric, over speakers; if there
    is none for the UAR, `no_interval` says why.
    """

    scores: Scores
    speakers: int
    probabilities: ProbabilityScores
    calibrated: ProbabilityScores | None
    baselines: Baselines
    intervals: dict[str, Interval]
    no_interval: str = ""


@dataclass(frozen=True)
class SpeakerScores:
    """The scores of one speaker, by the network's own probabilities.

    `confusion` is as in `Scores`: precision, recall and F1 of each class follow from it.
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
class Predictions:
    """The utterances of a part and what the network predicted.

    `utterances` are rows of a manifest and `logits` are (utterances, classes) in the order of
    `names`; for a recording of several windows, the logarithm of the mean of their softmaxes.
    `calibrated` (utterances, classes) are log-probabilities to which the temperature was applied,
    in each window. They are None without a temperature, and if they are not given, they follow
    from the logits. `fit` says how the temperature was chosen.
    """

    utterances: pd.DataFrame
    logits: np.ndarray
    names: tuple[str, ...]
    temperature: float | None = None
    calibrated: np.ndarray | None = None
    fit: TemperatureFit | None = None

    def __post_init__(self) -> None:
        if self.calibrated is None and self.temperature is not None:
            scaled = self.logits.astype(np.float64) / self.temperature
            object.__setattr__(self, "calibrated", log_softmax(scaled, axis=1))

    @property
    def labels(self) -> np.ndarray:
        places = {name: place for place, name in enumerate(self.names)}
        return self.utterances["emotion"].map(places).to_numpy(np.int64)

    @property
    def best_logits(self) -> np.ndarray:
        """What decisions are made from: calibrated, if there is a temperature."""
        return self.logits if self.calibrated is None else self.calibrated

    @property
    def predictions(self) -> np.ndarray:
        return self.best_logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """The probabilities (utterances, classes) that users see: calibrated, if possible."""
        return softmax(self.best_logits.astype(np.float64), axis=1)

    def only(self, rows: np.ndarray | slice) -> "Predictions":
        """The utterances of a mask (utterances,) or a slice."""
        calibrated = None if self.calibrated is None else self.calibrated[rows]
        return replace(
            self,
            utterances=self.utterances[rows],
            logits=self.logits[rows],
            calibrated=calibrated,
        )

    def tabulate(self) -> pd.DataFrame:
        """One row per utterance: its label, the prediction, and the probability of each class.

        `p_<class>` are the network's own probabilities; `confidence` is the calibrated probability
        of the prediction.
        """
        columns = ["id", "corpus", "speaker", "gender", "split", "emotion"]
        table = self.utterances[columns].copy()
        table["predicted"] = [self.names[index] for index in self.predictions]
        probabilities = softmax(self.logits.astype(np.float64), axis=1)
        table[[f"p_{name}" for name in self.names]] = probabilities
        table["confidence"] = self.probabilities.max(axis=1)
        return table

    def count_by_speaker(self) -> SpeakerCounts:
        """The sums by speaker, with corpora as strata."""
        labels, table = self.labels, self.utterances
        return count_by_speaker(
            table["speaker"].to_numpy(str),
            labels,
            self.predictions,
            len(self.names),
            extras=(in_top_two(self.logits, labels), log_losses(self.logits, labels)),
            strata=table["corpus"].to_numpy(str),
        )

    def outcomes(self, groups: Sequence[str] | np.ndarray) -> Outcomes:
        """The decisions with the group (utterances,) of each utterance."""
        table = self.utterances
        return Outcomes(
            labels=self.labels,
            predictions=self.predictions,
            speakers=table["speaker"].to_numpy(str),
            corpora=table["corpus"].to_numpy(str),
            groups=np.asarray(groups, str),
            classes=len(self.names),
        )


def summarize(predicted: Predictions) -> GroupMetrics:
    """All metrics of these utterances; raises ValueError if there are none."""
    labels, counts = predicted.labels, predicted.count_by_speaker()
    scores = score(labels, predicted.predictions, predicted.names)
    calibrated = predicted.calibrated
    return GroupMetrics(
        scores=scores,
        speakers=len(set(predicted.utterances["speaker"]) - {""}),
        probabilities=score_probabilities(predicted.logits, labels),
        calibrated=None if calibrated is None else score_probabilities(calibrated, labels),
        baselines=baselines(scores),
        intervals=find_intervals(counts),
        no_interval=explain_missing(counts),
    )


def summarize_by(predicted: Predictions, column: str) -> dict[str, GroupMetrics]:
    """The metrics of each value of a column; utterances without a value are left out."""
    values = predicted.utterances[column].to_numpy()
    known = sorted(set(values) - {""})
    return {str(value): summarize(predicted.only(values == value)) for value in known}


def summarize_speakers(predicted: Predictions) -> dict[str, SpeakerScores]:
    """The scores of each known speaker, by the network's own probabilities."""
    predicted = predicted.only((predicted.utterances["speaker"] != "").to_numpy())
    if predicted.utterances.empty:
        return {}
    counts, labels = predicted.count_by_speaker(), predicted.labels
    groups = predicted.utterances.reset_index(drop=True).groupby("speaker", sort=True)
    facts, rows, values = groups.first(), groups.indices, counts.scores()
    probabilities = softmax(predicted.logits.astype(np.float64), axis=1)
    found = {}
    for place, speaker in enumerate(facts.index):
        own, true = probabilities[rows[speaker]], labels[rows[speaker]]
        found[str(speaker)] = SpeakerScores(
            corpus=str(facts["corpus"].iloc[place]),
            gender=str(facts["gender"].iloc[place]),
            utterances=len(true),
            **dict(zip(METRICS, values[:, place].tolist(), strict=True)),
            roc_auc=roc_auc(own, true),
            calibration_error=reliability(own, true).error,
            confusion=counts.confusion[place].tolist(),
        )
    return found
