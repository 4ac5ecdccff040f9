"""What a report adds to an evaluation, from its predictions and manifest alone."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser.evaluation.result import EvaluationResult
from ser.metrics.gaps import Gap, find_gaps
from ser.metrics.label_errors import find_label_errors
from ser.metrics.listeners import Listeners, compare_with_listeners
from ser.metrics.selective import RiskCoverage, risk_coverage
from ser.metrics.sentences import KINDS, SentenceBaseline, sentence_baseline, sentence_baselines
from ser.metrics.summary import GroupMetrics, Predictions, SpeakerScores, summarize

AGE = "age"  # in years; grouped by decades
OLDEST = 150  # years; a larger number is no age
GROUPED = (AGE, "race", "ethnicity", "intensity")  # columns of a manifest
MOST_GROUPS = 12  # values of a column
TENTH = 10  # speakers from which a worst tenth exists


@dataclass(frozen=True)
class WorstSpeakers:
    """The tenth of the speakers with the lowest UAR, and their mean UAR."""

    names: list[str]
    uar: float


@dataclass(frozen=True)
class SentenceScores:
    """What sentences say about the emotion, also by corpus, and the scores by kind of sentence."""

    baseline: SentenceBaseline
    kinds: dict[str, GroupMetrics]
    corpora: dict[str, SentenceBaseline]

    @property
    def telling(self) -> list[str]:
        """The corpora whose sentences give the label away."""
        return [name for name, each in self.corpora.items() if each.gives_away]


@dataclass(frozen=True)
class Analysis:
    """Additions to an evaluation.

    `groups` are the metrics by value of each further column (age, race, ethnicity, intensity),
    `gaps` the differences between the groups of a column, gender included.
    """

    groups: dict[str, dict[str, GroupMetrics]]
    gaps: dict[str, list[Gap]]
    worst: WorstSpeakers | None
    selective: RiskCoverage
    listeners: Listeners | None
    label_errors: pd.DataFrame
    sentences: SentenceScores | None


def analyse(result: EvaluationResult) -> Analysis:
    """Compute all additions."""
    predicted = result.predicted
    columns = find_group_columns(predicted.utterances)
    genders = predicted.utterances["gender"].to_numpy(str)
    right = predicted.predictions == predicted.labels
    gaps = {name: find_gaps(predicted.outcomes(values)) for name, values in columns.items()}
    return Analysis(
        groups={name: summarize_groups(predicted, values) for name, values in columns.items()},
        gaps={"gender": find_gaps(predicted.outcomes(genders)), **gaps},
        worst=find_worst(result.speakers),
        selective=risk_coverage(predicted.probabilities.max(axis=1), right),
        listeners=compare_with_listeners(
            predicted.utterances, predicted.predictions, predicted.probabilities, predicted.names
        ),
        label_errors=review_labels(result),
        sentences=compare_sentences(result),
    )


def review_labels(result: EvaluationResult) -> pd.DataFrame:
    """Suspected label errors; none of the training part, whose labels the model was trained on."""
    predicted = result.predicted
    found = find_label_errors(predicted.utterances, predicted.probabilities, predicted.names)
    return found.iloc[:0] if result.part == "train" else found


def find_group_columns(utterances: pd.DataFrame) -> dict[str, np.ndarray]:
    """The group (utterances,) of each utterance, by column; empty if unknown."""
    found = {}
    for name in utterances.columns.intersection(list(GROUPED)):
        values = group_values(utterances[name], decades=name == AGE)
        if 2 <= len(set(values.tolist()) - {""}) <= MOST_GROUPS:
            found[name] = values
    return found


def group_values(column: pd.Series, *, decades: bool) -> np.ndarray:
    """The values as text, ages as decades (`20 to 29`)."""
    if decades:
        years = pd.to_numeric(column, errors="coerce")
        years = years.where((years >= 0) & (years < OLDEST))
        starts = (years // 10 * 10).astype("Int64")
        column = starts.astype(str) + " to " + (starts + 9).astype(str)
        column = column.mask(years.isna(), "")
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(str)


def summarize_groups(predicted: Predictions, values: np.ndarray) -> dict[str, GroupMetrics]:
    names = sorted(set(values.tolist()) - {""})
    return {name: summarize(predicted.only(values == name)) for name in names}


def find_worst(speakers: dict[str, SpeakerScores]) -> WorstSpeakers | None:
    """None with fewer than ten speakers."""
    if len(speakers) < TENTH:
        return None
    names = sorted(speakers, key=lambda name: speakers[name].uar)[: len(speakers) // TENTH]
    return WorstSpeakers(names, float(np.mean([speakers[name].uar for name in names])))


def compare_sentences(result: EvaluationResult) -> SentenceScores | None:
    """None if no sentence is known, or there is no training part to compare with."""
    train, predicted = result.manifest.part("train"), result.predicted
    if train.empty or result.part == "train":
        return None
    baseline = sentence_baseline(train, predicted.utterances)
    if baseline.uar is None:
        return None
    kinds = [kind for kind in KINDS if baseline.count(kind)]
    metrics = {kind: summarize(predicted.only(baseline.kinds == kind)) for kind in kinds}
    return SentenceScores(baseline, metrics, sentence_baselines(train, predicted.utterances))
