"""Which utterance is in which part.

Assignments depend on the seed and on the utterances alone, not on the order of the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from ser.corpora import CORPORA
from ser.data_config import Part, SplitConfig, SplitKind
from ser.leaks import check_held_out, check_leaks
from ser.manifest import Manifest, read

DRAWS = 500  # of speakers for a part, of which the most even one is taken
FEWEST_SPEAKERS = 3  # a corpus of fewer cannot be in three parts
PARTS = tuple(str(part) for part in Part)


def assign(manifest: Manifest, config: SplitConfig, labels: Sequence[str] = ()) -> Manifest:
    """The manifest with its `split` column filled: train, val or test.

    Raises ValueError where a part would miss an emotion (one of the data, or one of `labels`), or
    where a speaker or a recording would be in two parts of a split that promises otherwise.
    """
    table = manifest.utterances.sort_values("id", ignore_index=True)
    if config.reuse is not None:
        parts = split_as_before(table, Path(config.reuse))
        check_held_out(table.assign(split=parts), config)
    else:
        parts = KINDS[config.kind](table, config)
    split = replace(manifest, utterances=table.assign(split=parts))
    check_emotions(split.utterances, config, labels)
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

    def share_out(corpus: pd.DataFrame) -> pd.Series:
        speakers = corpus["speaker"].nunique()
        sizes = {"test": at_least_one(config.test * speakers)}
        sizes["val"] = at_least_one(config.val * speakers)
        return draw_speakers(corpus, sizes, config)

    return by_corpus(table, config, share_out)


def split_by_corpus(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """All of the held-out corpora for testing; the others by speaker, for training and val."""
    corpora = sorted(table["corpus"].unique())
    for name in config.held_out:
        if name not in corpora:
            raise ValueError(f"split.held_out={name}: the data hold only {', '.join(corpora)}")
    held_out = table["corpus"].isin(config.held_out)
    if held_out.all():
        raise ValueError(f"split.held_out={config.held_out} leaves nothing to train on")

    def share_out(corpus: pd.DataFrame) -> pd.Series:
        sizes = {"val": at_least_one(config.val * corpus["speaker"].nunique())}
        return draw_speakers(corpus, sizes, config)

    parts = by_corpus(table[~held_out], config, share_out)
    return parts.reindex(table.index, fill_value="test")


def split_by_fold(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """One of k folds over speakers for testing, and of the others some speakers for val.

    A corpus of fewer than three speakers is for training only in every fold; one of fewer speakers
    than folds is tested in as many folds as it has speakers.
    """

    def share_out(corpus: pd.DataFrame) -> pd.Series:
        tested = corpus["speaker"].isin(speakers_to_test(corpus, config))
        sizes = {"val": at_least_one(config.val * corpus["speaker"].nunique())}
        parts = draw_speakers(corpus[~tested], sizes, config)
        return parts.reindex(corpus.index, fill_value="test")

    return by_corpus(table, config, share_out)


def speakers_to_test(corpus: pd.DataFrame, config: SplitConfig) -> list[str]:
    """The speakers of the test fold: a published one, or from a stratified k-fold of our own."""
    name = str(corpus["corpus"].iloc[0])
    if config.scheme is not None:
        published = CORPORA[name].folds if name in CORPORA else {}
        if config.scheme not in published:
            raise ValueError(f"split.scheme={config.scheme} has no folds of {name}; leave it out")
        folds = published[config.scheme]
        return (
            [f"{name}/{who}" for who in folds[config.fold - 1]] if config.fold <= len(folds) else []
        )
    count = min(config.folds, corpus["speaker"].nunique())
    if config.fold > count:
        return []
    kfold = StratifiedGroupKFold(count, shuffle=True, random_state=config.seed)
    folds = list(kfold.split(corpus, corpus["emotion"], corpus["speaker"]))
    return corpus["speaker"].iloc[folds[config.fold - 1][1]].unique().tolist()


def split_by_table(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """As the `split` column of the user's table says."""
    unknown = table[table["split"] == ""]
    if not unknown.empty:
        raise ValueError(
            f"split=table: {len(unknown):,} of {len(table):,} utterances have no split column that"
            f" says train, val or test, {unknown['id'].iloc[0]} among them"
        )
    return table["split"]


def split_as_before(table: pd.DataFrame, file: Path) -> pd.Series:
    """The parts of an earlier run, from its manifest.csv."""
    before = read(file.expanduser()).set_index("id")
    parts = table["id"].map(before["split"])
    changed = parts.notna() & (table["id"].map(before["content"]) != table["content"])
    for wrong, problem in ((parts.isna(), "are not in it"), (changed, "were other recordings")):
        if wrong.any():
            example = table.loc[wrong, "id"].iloc[0]
            raise ValueError(
                f"split.from={file}: {wrong.sum():,} of {len(table):,} utterances {problem},"
                f" {example} among them; name the manifest of a run on these data"
            )
    return parts


KINDS: dict[SplitKind, Callable[[pd.DataFrame, SplitConfig], pd.Series]] = {
    SplitKind.stratified: split_stratified,
    SplitKind.speaker: split_by_speaker,
    SplitKind.corpus: split_by_corpus,
    SplitKind.folds: split_by_fold,
    SplitKind.table: split_by_table,
}


def by_corpus(
    table: pd.DataFrame, config: SplitConfig, share_out: Callable[[pd.DataFrame], pd.Series]
) -> pd.Series:
    """What `share_out` makes of each corpus; one of fewer than three speakers is for training."""
    unknown = table[table["speaker"] == ""]
    if not unknown.empty:
        raise ValueError(
            f"split={config.kind} must know who speaks, and {len(unknown):,} utterances of"
            f" {unknown['corpus'].iloc[0]} have no speaker: fill that column, or use"
            " split=stratified"
        )
    shares = [
        share_out(corpus)
        if corpus["speaker"].nunique() >= FEWEST_SPEAKERS
        else pd.Series("train", index=corpus.index)
        for _, corpus in table.groupby("corpus")
    ]
    return pd.concat(shares).reindex(table.index)


def at_least_one(share: float) -> int:
    return max(1, round(share))


def draw_speakers(corpus: pd.DataFrame, sizes: dict[str, int], config: SplitConfig) -> pd.Series:
    """So many speakers for each part, the rest for training.

    Of many seeded draws the most even one is taken, by emotion and gender (and so by size).
    """
    strata = corpus["emotion"].str.cat(corpus["gender"], sep="/")
    counts = pd.crosstab(corpus["speaker"], strata)
    if sum(sizes.values()) >= len(counts):
        raise ValueError(
            f"split={config.kind}: split.val={config.val} and split.test={config.test} leave no"
            f" speaker of {corpus['corpus'].iloc[0]} for training"
        )
    bounds = np.cumsum([0, *sizes.values()])
    generator = np.random.default_rng(config.seed)
    draws = (generator.permutation(len(counts)) for _ in range(DRAWS))
    order = min(draws, key=lambda order: imbalance(counts.to_numpy()[order], bounds))
    parts = pd.Series("train", index=counts.index[order])
    for part, start, end in zip(sizes, bounds[:-1], bounds[1:], strict=True):
        parts.iloc[start:end] = part
    return corpus["speaker"].map(parts)


def imbalance(counts: np.ndarray, bounds: np.ndarray) -> float:
    """How far the speakers between each two bounds are from an even share.

    `counts` (speakers, strata) are utterances.
    """
    fair = counts.mean(axis=0)
    off = [
        np.abs(part.sum(axis=0) - fair * len(part)).sum() / (fair.sum() * len(part))
        for part in np.split(counts, bounds[1:])[:-1]
    ]
    return float(sum(off))


def check_emotions(table: pd.DataFrame, config: SplitConfig, labels: Sequence[str]) -> None:
    """Raise ValueError where an emotion is missing from a part, or is the only one.

    A held-out corpus need not have them all: CREMA-D has neither surprise nor calm.
    """
    counts = pd.crosstab(table["emotion"], table["split"])
    wanted = [*dict.fromkeys([*labels, *counts.index])]
    if len(wanted) < 2:
        raise ValueError(
            f"the data hold one emotion only ({wanted[0]}): there is nothing to tell apart"
        )
    counts = counts.reindex(index=wanted, columns=list(PARTS), fill_value=0)
    may_miss = {"test"} if config.kind == SplitKind.corpus else set()
    for part in PARTS:
        missing = sorted(counts.index[counts[part] == 0])
        if missing and part not in may_miss:
            corpora = ", ".join(sorted(table["corpus"].unique()))
            raise ValueError(
                f"split={config.kind} leaves the {part} part without {', '.join(missing)}:"
                f" {corpora} ({table['speaker'].nunique()} speakers, {len(table)} utterances)"
                " cannot be split so; add corpora, change the shares, use another split, or choose"
                " classes with data.merge or data.labels"
            )
