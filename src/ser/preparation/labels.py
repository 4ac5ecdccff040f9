"""From the intended or perceived emotion to the label that the model is trained on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser.config.data import Ambiguous, DataConfig, LabelSource, describe_labels
from ser.corpora import CORPORA
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.preparation.manifest import Manifest, Reason


def label(manifest: Manifest, data: DataConfig) -> Manifest:
    """The manifest with `emotion`, `perceived` and `agreement` set; nothing is dropped yet."""
    table = manifest.utterances.copy()
    for corpus, file in data.votes.items():
        if file is not None and corpus in data.corpora:
            table["perceived"] = find_votes(corpus, Path(file).expanduser(), table)
    # Votes for emotions that are merged are votes for one emotion.
    votes = [str(words).split(":") if words else [] for words in table["perceived"]]
    winners = [[data.merge.get(name, name) for name in names] for names in votes]
    table["perceived"] = [":".join(dict.fromkeys(names)) for names in winners]
    table["emotion"] = table["intended"].replace(data.merge)
    if data.label_by == LabelSource.perceived:
        clear = [len(set(names)) == 1 for names in winners]
        table["emotion"] = table["emotion"].mask(np.array(clear, bool), table["perceived"])
    shares = [vote_share(*each) for each in zip(table["emotion"], winners, strict=True)]
    table["agreement"] = table["agreement"].fillna(pd.Series(shares, table.index, dtype=float))
    return replace(manifest, utterances=table)


def vote_share(emotion: str, winners: list[str]) -> float:
    """The share of an emotion among the most frequent votes; NaN without votes."""
    return winners.count(emotion) / len(winners) if winners else np.nan


def find_votes(corpus: str, file: Path, table: pd.DataFrame) -> pd.Series:
    """The most frequent votes on each utterance of a corpus, as `angry:fear`; others unchanged."""
    read_votes = CORPORA[corpus].read_votes
    if read_votes is None:
        return table["perceived"]
    votes = {f"{corpus}/{name}": ":".join(winners) for name, winners in read_votes(file).items()}
    return table["id"].map(votes).fillna(table["perceived"])


def check_effects(manifest: Manifest, data: DataConfig) -> None:
    """Raise UserError if a class or a merged emotion does not occur in the data at all."""
    table = manifest.utterances
    present = sorted({*table["intended"].unique(), *table["emotion"].unique()} - {""})
    for name in data.merge:
        if name not in (*LABELS, *present):
            raise UserError(f"data.merge={name}: {absent(name, present)}")
    found = table["emotion"].unique()
    for name in data.labels:
        if name not in found:
            raise UserError(f"data.labels={name}: {absent(name, sorted(set(found) - {''}))}")


def absent(name: str, present: Sequence[str]) -> str:
    return f"no utterance has this emotion; {describe_labels(name, list(present))}"


def leave_out(manifest: Manifest, data: DataConfig) -> Manifest:
    """Without ambiguous utterances, if so configured, and without emotions that are no class."""
    table = manifest.utterances
    if table.empty:  # its columns have lost their types
        return manifest
    tied = table["perceived"].str.contains(":") & (data.label_by == LabelSource.perceived)
    weak = (table["agreement"] < data.min_agreement) & (data.ambiguous == Ambiguous.drop)
    outside = ~table["emotion"].isin(data.label_space)
    reasons = pd.Series("", table.index, dtype="str")
    reasons[tied | weak] = Reason.AMBIGUOUS.value
    reasons[outside] = Reason.LEFT_OUT.value
    votes = "perceived as " + table["perceived"].mask(table["perceived"] == "", "another emotion")
    details = (votes + ", agreement " + table["agreement"].round(2).astype(str)).mask(
        outside, table["emotion"] + " is not in data.labels"
    )
    return manifest.drop(reasons, details)
