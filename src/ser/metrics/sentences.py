"""Whether a sentence gives its label away: sentences that are spoken in one emotion only.

A network that recognises words can then predict the emotion from the text. SAVEE is such a corpus:
six of ten utterances are sentences that occur in a single emotion.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser.metrics.scores import score

ONE, SOME, ALL = "one emotion", "some emotions", "all emotions"
NEW, UNKNOWN = "not in training", ""
KINDS = (ONE, SOME, ALL, NEW)
MARGIN = 0.05  # of UAR above chance, which unequal counts alone do not reach


@dataclass(frozen=True)
class SentenceBaseline:
    """How well the sentence alone predicts the emotion of the test utterances.

    `uar` is that of always predicting the most frequent emotion of the sentence in the training
    part (for sentences that are not in it, that of all). `chance` is 1 / classes. `kinds`
    (utterances,) says for each test utterance whether its sentence occurs, in both parts
    together, in one, some or all emotions of its corpus; sentences that are not in the training
    part are a kind of their own, and the kind of an unknown sentence is empty. `uar` is None if no
    test utterance has a known sentence.
    """

    uar: float | None
    chance: float
    kinds: np.ndarray

    def count(self, kind: str) -> int:
        return int((self.kinds == kind).sum())

    @property
    def gives_away(self) -> bool:
        """Whether sentences predict the emotion clearly better than chance."""
        return self.uar is not None and self.uar > self.chance + MARGIN


def sentence_baseline(train: pd.DataFrame, test: pd.DataFrame) -> SentenceBaseline:
    """Measure how much the sentence says about the emotion.

    Both tables have the columns `sentence` and `emotion`, one row per utterance, and optionally
    `corpus`, because sentence 01 of two corpora is not the same. Raises ValueError if a column is
    missing or a table is empty.
    """
    for table, name in ((train, "train"), (test, "test")):
        missing = {"sentence", "emotion"} - set(table.columns)
        if missing or table.empty:
            reason = f"lacks {', '.join(sorted(missing))}" if missing else "has no utterances"
            raise ValueError(f"the {name} table {reason}")
    if not {"corpus"} <= set(train.columns) & set(test.columns):
        train, test = train.assign(corpus=""), test.assign(corpus="")
    known = name_sentences(test)
    kinds = find_kinds(train, test)
    emotions = sorted(set(train["emotion"]) | set(test["emotion"]))
    chance = 1 / test["emotion"].nunique()
    if (kinds == UNKNOWN).all():
        return SentenceBaseline(None, chance, kinds)
    predicted = known.map(find_majorities(train)).fillna(most_frequent(train["emotion"]))
    rows = kinds != UNKNOWN
    uar = score(test.loc[rows, "emotion"], predicted[rows], emotions).uar
    return SentenceBaseline(uar, chance, kinds)


def sentence_baselines(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, SentenceBaseline]:
    """The baseline of each corpus of the test table, for corpora with known sentences in it.

    Each is compared with the training utterances of the same corpus; without any, it is left out.
    """
    found = {}
    for corpus, rows in test.groupby("corpus"):
        same = train[train["corpus"] == corpus]
        if not same.empty:
            found[str(corpus)] = sentence_baseline(same, rows)
    return {name: each for name, each in found.items() if each.uar is not None}


def name_sentences(table: pd.DataFrame) -> pd.Series:
    """Each sentence with its corpus; empty if it is unknown."""
    sentences = table["sentence"].fillna("").astype(str)
    corpora = table["corpus"].astype(str) + "/" if "corpus" in table else ""
    return (corpora + sentences).mask(sentences == "", "")


def find_majorities(train: pd.DataFrame) -> dict[str, str]:
    """The most frequent emotion of each sentence; ties take the first in alphabetical order."""
    groups = train["emotion"].groupby(name_sentences(train).to_numpy())
    return {str(name): most_frequent(rows) for name, rows in groups if name}


def most_frequent(emotions: pd.Series) -> str:
    counts = emotions.value_counts()
    return min(str(name) for name in counts.index[counts == counts.max()])


def find_kinds(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """ONE, SOME, ALL, NEW or UNKNOWN for each test utterance (utterances,); both have a corpus."""
    both, corpora = pd.concat([train, test], ignore_index=True), test["corpus"]
    sentences, trained = name_sentences(test), set(name_sentences(train))
    emotions = sentences.map(both["emotion"].groupby(name_sentences(both)).nunique())
    total = corpora.map(both["emotion"].groupby(both["corpus"]).nunique())
    kinds = np.select([emotions == total, emotions > 1], [ALL, SOME], ONE)
    kinds = np.where(sentences.isin(trained), kinds, NEW)
    return np.where(sentences == "", UNKNOWN, kinds)
