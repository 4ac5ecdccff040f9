"""Which utterance is in which part, and proof that nothing leaks between the parts.

Assignments depend on the seed and on the utterances alone, not on the order of the rows.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from ser.config import Part, SplitConfig, SplitKind
from ser.manifest import Manifest

DRAWS = 500  # of a speaker split, of which the most even one is taken
PARTS = tuple(str(part) for part in Part)


@dataclass(frozen=True)
class Leaks:
    """What the held-out parts share with the training part, or with each other."""

    speakers: tuple[str, ...]
    recordings: tuple[str, ...]


def assign(manifest: Manifest, config: SplitConfig) -> Manifest:
    """The manifest with its `split` column filled: train, val or test.

    Raises ValueError where a part would miss an emotion, or a speaker would be in two parts of
    a speaker split.
    """
    table = manifest.utterances.sort_values("id", ignore_index=True)
    kinds = {SplitKind.stratified: split_stratified, SplitKind.speaker: split_by_speaker}
    split = Manifest(table.assign(split=kinds[config.kind](table, config)), manifest.dropped)
    check_emotions(split.utterances, config)
    check_leaks(split.utterances, config)
    return split


def split_stratified(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """At random, in equal shares of every emotion, and of every corpus within it."""
    counts = table["emotion"].value_counts()
    if counts.min() < 3:
        raise ValueError(f"{counts.idxmin()} has fewer than 3 utterances, too few for three parts")
    strata = table["emotion"].str.cat(table["corpus"], sep="/")
    rare = strata.map(strata.value_counts()) < 10  # too few for a tenth of them
    largest = strata.groupby(table["emotion"]).transform(lambda rows: rows.value_counts().idxmax())
    strata = strata.where(~rare, largest)
    rest, test = draw(np.arange(len(table)), strata, config.test, config.seed)
    _, val = draw(rest, strata, config.val / (1 - config.test), config.seed)
    split = np.full(len(table), "train", dtype=object)
    split[val], split[test] = "val", "test"
    return pd.Series(split, index=table.index)


def draw(
    rows: np.ndarray, strata: pd.Series, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay and those drawn, a `share` of every stratum."""
    try:
        kept, drawn = train_test_split(
            rows, test_size=share, stratify=strata.iloc[rows], random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"split.kind=stratified cannot draw {share:.0%} of {len(rows)} utterances in"
            f" {strata.iloc[rows].nunique()} strata ({error}): use more data or a larger share"
        ) from error
    return np.asarray(kept), np.asarray(drawn)


def split_by_speaker(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Every speaker in one part only, corpus by corpus, in shares as even as speakers allow.

    A corpus of fewer than three speakers cannot be in three parts: it is for training only (so
    with TESS). One of three or more is in all parts, so SAVEE gives 2, 1 and 1 of its speakers.
    """
    shares = [share_out_speakers(corpus, config) for _, corpus in table.groupby("corpus")]
    return pd.concat(shares).reindex(table.index)


def share_out_speakers(corpus: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """The most even of many seeded draws, by emotion and gender (and so by size) of each part."""
    strata = corpus["emotion"].str.cat(corpus["gender"], sep="/")
    counts = pd.crosstab(corpus["speaker"], strata)
    speakers = len(counts)
    if speakers < 3:
        return pd.Series("train", index=corpus.index)
    test = max(1, round(config.test * speakers))
    val = max(1, round(config.val * speakers))
    if test + val >= speakers:
        raise ValueError(
            f"split.kind=speaker: split.val={config.val} and split.test={config.test} leave no"
            f" speaker of {corpus['corpus'].iloc[0]} for training"
        )
    generator = np.random.default_rng(config.seed)
    draws = (generator.permutation(speakers) for _ in range(DRAWS))
    order = min(draws, key=lambda order: imbalance(counts.to_numpy()[order], test, val))
    parts = pd.Series("train", index=counts.index[order])
    parts.iloc[:test], parts.iloc[test : test + val] = "test", "val"
    return corpus["speaker"].map(parts)


def imbalance(counts: np.ndarray, test: int, val: int) -> float:
    """How far the first `test` and the next `val` speakers are from an even share.

    `counts` (speakers, strata) are utterances.
    """
    fair = counts.mean(axis=0)
    off = [
        np.abs(part.sum(axis=0) - fair * len(part)).sum() / (fair.sum() * len(part))
        for part in (counts[:test], counts[test : test + val])
    ]
    return float(sum(off))


def check_emotions(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise ValueError where an emotion of the data is missing from a part, or is the only one."""
    if table["emotion"].nunique() < 2:
        only = ", ".join(table["emotion"].unique())
        raise ValueError(f"the data hold one emotion only ({only}): there is nothing to tell apart")
    counts = table.groupby(["emotion", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(PARTS), fill_value=0)
    for part in PARTS:
        missing = sorted(counts.index[counts[part] == 0])
        if missing:
            corpora = ", ".join(sorted(table["corpus"].unique()))
            raise ValueError(
                f"split={config.kind} leaves the {part} part without {', '.join(missing)}:"
                f" {corpora} ({table['speaker'].nunique()} speakers, {len(table)} utterances)"
                " cannot be split so; add corpora, change the shares, or use split=stratified"
            )


def check_leaks(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise ValueError where a recording, or in a speaker split a speaker, is in two parts."""
    leaks = find_leaks(table)
    shared = leaks.recordings or (leaks.speakers if config.kind == SplitKind.speaker else ())
    if shared:
        raise ValueError(
            f"split.kind={config.kind} leaks: {len(shared)} recordings or speakers are in two"
            f" parts, {shared[0]} among them; this is a fault of ser, please report it"
        )


def find_leaks(table: pd.DataFrame) -> Leaks:
    """The speakers and the recordings (content hashes) that are in more than one part."""

    def shared(column: str) -> tuple[str, ...]:
        parts = table.groupby(column)["split"].nunique()
        return tuple(sorted(parts.index[parts > 1]))

    return Leaks(speakers=shared("speaker"), recordings=shared("content"))
