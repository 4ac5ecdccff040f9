"""From what was intended, or heard, to the label that is trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser.corpora import CORPORA
from ser.data_config import Ambiguous, DataConfig, LabelSource
from ser.manifest import Manifest, Reason


def label(manifest: Manifest, data: DataConfig) -> Manifest:
    """The manifest with `emotion`, `perceived` and `agreement` settled; nothing is left out yet."""
    table = manifest.utterances.copy()
    for corpus, file in data.votes.items():
        if file is not None and corpus in data.corpora:
            table["perceived"] = heard_in(corpus, Path(file), table)
    heard = data.label_by == LabelSource.perceived
    clear = (table["perceived"] != "") & ~table["perceived"].str.contains(":")
    table["emotion"] = (
        table["intended"].mask(clear, table["perceived"]) if heard else (table["intended"])
    )
    shares = [
        share_of(own, winners)
        for own, winners in zip(table["emotion"], table["perceived"], strict=True)
    ]
    table["agreement"] = table["agreement"].fillna(pd.Series(shares, table.index, dtype=float))
    table["emotion"] = table["emotion"].replace(data.merge)
    return replace(manifest, utterances=table)


def share_of(emotion: str, winners: str) -> float:
    """The share of the first place that an emotion has among `winners`; NaN without votes."""
    return (emotion in winners.split(":")) / (winners.count(":") + 1) if winners else np.nan


def heard_in(corpus: str, file: Path, table: pd.DataFrame) -> pd.Series:
    """The winners of the votes on this corpus, as `angry:fear`; other rows stay as they are."""
    read_votes = CORPORA[corpus].read_votes
    if read_votes is None:
        return table["perceived"]
    votes = {f"{corpus}/{name}": ":".join(heard) for name, heard in read_votes(file).items()}
    return table["id"].map(votes).fillna(table["perceived"])


def leave_out(manifest: Manifest, data: DataConfig) -> Manifest:
    """Without what is ambiguous, where that is asked for, and what is outside the label space."""
    table = manifest.utterances
    tied = table["perceived"].str.contains(":") & (data.label_by == LabelSource.perceived)
    weak = (table["agreement"] < data.min_agreement) & (data.ambiguous == Ambiguous.drop)
    outside = ~table["emotion"].isin(data.label_space)
    reasons = pd.Series("", table.index, dtype="str")
    reasons[tied | weak] = Reason.AMBIGUOUS.value
    reasons[outside] = Reason.LEFT_OUT.value
    heard = "heard as " + table["perceived"].mask(table["perceived"] == "", "something else")
    details = (heard + ", agreement " + table["agreement"].round(2).astype(str)).mask(
        outside, table["emotion"] + " is not in data.labels"
    )
    return manifest.drop(reasons, details)
