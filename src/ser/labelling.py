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
    # Votes for emotions that count as one are votes for that one.
    votes = [str(words).split(":") if words else [] for words in table["perceived"]]
    winners = [[data.merge.get(name, name) for name in names] for names in votes]
    table["perceived"] = [":".join(dict.fromkeys(names)) for names in winners]
    table["emotion"] = table["intended"].replace(data.merge)
    if data.label_by == LabelSource.perceived:
        clear = [len(set(names)) == 1 for names in winners]
        table["emotion"] = table["emotion"].mask(np.array(clear, bool), table["perceived"])
    shares = [share_of(*each) for each in zip(table["emotion"], winners, strict=True)]
    table["agreement"] = table["agreement"].fillna(pd.Series(shares, table.index, dtype=float))
    return replace(manifest, utterances=table)


def share_of(emotion: str, winners: list[str]) -> float:
    """The share of the first place that an emotion has among `winners`; NaN without votes."""
    return winners.count(emotion) / len(winners) if winners else np.nan


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
