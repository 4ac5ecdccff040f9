"""Splits that keep groups together: speakers, sentences, or both."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from ser.config.split import SplitConfig, SplitKind
from ser.errors import UserError
from ser.metrics.sentences import name_sentences

DRAWS = 500  # random assignments of groups to parts, of which the most even one is used
FEWEST = 3  # groups; a corpus with fewer cannot be in three parts


def split_by_speaker(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """No speaker in two parts, corpus by corpus.

    The speakers of a corpus with fewer than three are for training (TESS). A corpus with three or
    more is in all parts, so SAVEE gives 2, 1 and 1 of its four speakers.
    """
    return by_corpus(table, config, partial(share_groups, config=config), "speaker")


def split_by_sentence(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """No sentence in two parts, corpus by corpus; RAVDESS has two and is for training only."""
    named = table.assign(sentence=name_sentences(table))
    share = partial(share_groups, config=config, column="sentence")
    return by_corpus(named, config, share, "sentence")


def split_by_both(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """No speaker and no sentence in two parts.

    Speakers and sentences are split separately. An utterance whose speaker and sentence are in
    different parts belongs to no part.
    """
    speakers, sentences = split_by_speaker(table, config), split_by_sentence(table, config)
    return speakers.where(speakers == sentences, "")


def split_across_speakers(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Some speakers for testing, others for training; validation by sentences of the latter.

    Raises UserError if a speaker is in both lists, or in none if `train_speakers` names some, and
    if no speaker is left for training.
    """
    require_groups(table, config, "speaker")
    tested = find_speakers(table, config.test_speakers, "test_speakers")
    trained = find_speakers(table, config.train_speakers, "train_speakers")
    both = table.loc[tested & trained, "speaker"].unique()
    if len(both):
        raise UserError(
            f"split.train_speakers={config.train_speakers}: {', '.join(both[:5])} are in"
            " split.test_speakers too; name each speaker in one of them"
        )
    if tested.all():
        raise UserError(
            f"split.test_speakers={config.test_speakers} leaves no speaker for training; there are"
            f" only {', '.join(sorted(table['speaker'].unique())[:20])}"
        )
    rest = table.loc[~tested & ~trained, "speaker"].unique()
    if config.train_speakers and len(rest):
        raise UserError(
            f"split=cross_speaker: {', '.join(rest[:5])} are in neither split.train_speakers nor"
            " split.test_speakers; name all speakers, or leave split.train_speakers empty"
        )
    parts = validate_by_sentence(table[~tested], config)
    return parts.reindex(table.index, fill_value="test")


def validate_by_sentence(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Training and validation part with different sentences, corpus by corpus."""
    named = table.assign(sentence=name_sentences(table))

    def share_out(corpus: pd.DataFrame) -> pd.Series:
        sizes = {"val": at_least_one(config.val * corpus["sentence"].nunique())}
        return draw_groups(corpus, sizes, config, "sentence")

    return by_corpus(named, config, share_out, "sentence", fewest=2)


def find_speakers(table: pd.DataFrame, names: list[str], key: str) -> pd.Series:
    """Which utterances are of these speakers, named with or without their corpus."""
    short = table["speaker"].str.partition("/")[2]
    known = {*short.unique(), *table["speaker"].unique()} - {""}
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(table["speaker"].unique())[:20])
            raise UserError(f"split.{key}={name}: no such speaker; there are {listed}")
    return table["speaker"].isin(names) | short.isin(names)


def by_corpus(
    table: pd.DataFrame,
    config: SplitConfig,
    share_out: Callable[[pd.DataFrame], pd.Series],
    column: str,
    *,
    fewest: int = FEWEST,
) -> pd.Series:
    """The parts by `share_out` for each corpus; one with fewer groups is for training only.

    Raises UserError if an utterance has no group (`column` is speaker or sentence).
    """
    require_groups(table, config, column)
    shares = [
        share_out(corpus)
        if corpus[column].nunique() >= fewest
        else pd.Series("train", index=corpus.index)
        for _, corpus in table.groupby("corpus")
    ]
    return pd.concat(shares).reindex(table.index)


def require_groups(table: pd.DataFrame, config: SplitConfig, column: str) -> None:
    """Raise UserError if an utterance has no speaker or sentence (`column`)."""
    unknown = table[table[column] == ""]
    if not unknown.empty:
        raise UserError(
            f"split={config.kind} needs the {column} of every utterance, and {len(unknown):,}"
            f" utterances of {unknown['corpus'].iloc[0]} have none: fill that column, or use"
            " split=stratified"
        )


def share_groups(corpus: pd.DataFrame, config: SplitConfig, column: str = "speaker") -> pd.Series:
    """The parts of a corpus by `split.val` and `split.test`, which are shares of its groups."""
    count = corpus[column].nunique()
    sizes = {"test": at_least_one(config.test * count), "val": at_least_one(config.val * count)}
    return draw_groups(corpus, sizes, config, column)


def at_least_one(share: float) -> int:
    return max(1, round(share))


def draw_groups(
    corpus: pd.DataFrame, sizes: dict[str, int], config: SplitConfig, column: str = "speaker"
) -> pd.Series:
    """The part of each utterance: `sizes` groups for each part, the rest for training.

    Of DRAWS seeded draws, the most even one by emotion and gender, and so by size, is used. Raises
    UserError if no group is left for training.
    """
    strata = corpus["emotion"].str.cat(corpus["gender"], sep="/")
    counts = pd.crosstab(corpus[column], strata)
    if sum(sizes.values()) >= len(counts):
        cause = f"split.val={config.val} and split.test={config.test}"
        if config.kind == SplitKind.folds:
            cause = f"split.val={config.val} and the test speakers of fold {config.fold}"
        raise UserError(
            f"split={config.kind}: {cause} leave no {column} of {corpus['corpus'].iloc[0]} for"
            " training"
        )
    bounds = np.cumsum([0, *sizes.values()])
    generator = np.random.default_rng(config.seed)
    draw = permute if column == "speaker" else interleave
    draws = (draw(counts.to_numpy(), generator) for _ in range(DRAWS))
    order = min(draws, key=lambda order: imbalance(counts.to_numpy()[order], bounds))
    parts = pd.Series("train", index=counts.index[order])
    for part, start, end in zip(sizes, bounds[:-1], bounds[1:], strict=True):
        parts.iloc[start:end] = part
    return corpus[column].map(parts)


def permute(counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random order of the groups."""
    return generator.permutation(len(counts))


def interleave(counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random order of the groups in which every stretch has about the same mix of strata.

    A sentence may occur in one emotion only (SAVEE), so a plain permutation would miss emotions.
    """
    order = generator.permutation(len(counts))
    stratum = pd.Series(counts.argmax(axis=1)[order])
    sizes = stratum.map(stratum.value_counts())
    offsets = stratum.map(dict(enumerate(generator.random(counts.shape[1]))))
    position = (stratum.groupby(stratum).cumcount() + offsets) / sizes
    return order[np.argsort(position.to_numpy(), kind="stable")]


def imbalance(counts: np.ndarray, bounds: np.ndarray) -> float:
    """The sum over all parts of their deviation from an even share, as a fraction of it.

    `counts` (groups, strata) are numbers of utterances; each part ends at one of the `bounds`.
    """
    fair = counts.mean(axis=0)
    deviations = [
        np.abs(part.sum(axis=0) - fair * len(part)).sum() / (fair.sum() * len(part))
        for part in np.split(counts, bounds[1:])[:-1]
    ]
    return float(sum(deviations))
