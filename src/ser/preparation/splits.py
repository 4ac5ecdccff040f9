"""Assigns each utterance to a part: train, val or test.

The assignment depends on the seed and on the utterances alone, not on the order of the rows.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from ser.config.split import Part, SplitConfig, SplitKind
from ser.errors import UserError
from ser.preparation.folds import find_published, log_coverage, split_by_fold
from ser.preparation.grouping import (
    FEWEST,
    at_least_one,
    by_corpus,
    draw_groups,
    split_across_speakers,
    split_by_both,
    split_by_sentence,
    split_by_speaker,
    validate_by_sentence,
)
from ser.preparation.leaks import check_held_out, check_leaks
from ser.preparation.manifest import Manifest, Reason, read
from ser.preparation.table import UNUSED
from ser.preparation.tables.names import PART_WORDS

PARTS = tuple(str(part) for part in Part)


def assign(manifest: Manifest, config: SplitConfig, labels: Sequence[str] = ()) -> Manifest:
    """The manifest with its `split` column filled; utterances in no part are dropped.

    Raises UserError if an emotion (of the data, or of `labels`) is missing from a part, or if two
    parts share a speaker, a sentence or a recording although the split promises otherwise.
    """
    table = manifest.utterances.sort_values("id", ignore_index=True)
    if config.manifest is not None:
        parts = split_as_before(table, Path(config.manifest))
        check_held_out(table.assign(split=parts), config)
    else:
        parts = KINDS[config.kind](table, config)
        log_coverage(table.assign(split=parts), config)
    split = leave_out(replace(manifest, utterances=table.assign(split=parts)), config)
    check_emotions(split.utterances, config, labels)
    check_leaks(split.utterances, config)
    return split


def leave_out(manifest: Manifest, config: SplitConfig) -> Manifest:
    """Without the utterances that belong to no part."""
    outside = manifest.utterances["split"] == ""
    if not outside.any():
        return manifest
    reasons = outside.map({True: Reason.NOT_IN_SPLIT.value, False: ""}).astype("str")
    return manifest.drop(reasons, pd.Series(config.described, outside.index, dtype="str"))


def check_names(corpora: Sequence[str], config: SplitConfig) -> None:
    """Raise UserError for held-out corpora and published folds that these corpora do not have."""
    if config.manifest is not None:
        return
    for name in config.held_out if config.kind == SplitKind.corpus else []:
        if name not in corpora:
            raise UserError(f"split.held_out={name}: choose from {', '.join(corpora)}")
    for name in corpora if config.scheme is not None else []:
        find_published(name, config)


def check_possible(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise UserError if utterances, not decoded yet, cannot be split in this way."""
    if config.manifest is not None:
        read(Path(config.manifest).expanduser())
        return
    if table.empty:
        return
    if config.kind == SplitKind.stratified:
        check_counts(table)
        return
    first = table.drop_duplicates("id").sort_values("id", ignore_index=True)
    parts = KINDS[config.kind](first, config)
    for part in PARTS:
        if not (parts == part).any():
            raise UserError(
                f"split={config.kind} leaves no utterance for the {part} part: {describe(first)};"
                " use another split or fold, or more data"
            )


def split_stratified(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """The same shares of every emotion in every corpus, at random.

    Utterances of an emotion that is rare in one corpus are drawn together with those of the corpus
    that has most of them.
    """
    check_counts(table)
    strata = table["emotion"].str.cat(table["corpus"], sep="/")
    rare = strata.map(strata.value_counts()) < 10  # too few for a tenth of them
    largest = strata.groupby(table["emotion"]).transform(lambda rows: rows.value_counts().idxmax())
    strata = strata.where(~rare, largest)
    rest, test = draw(np.arange(len(table)), strata, config.test, config.seed)
    _, val = draw(rest, strata, config.val / (1 - config.test), config.seed)
    split = np.full(len(table), "train", dtype=object)
    split[val], split[test] = "val", "test"
    return pd.Series(split, index=table.index)


def check_counts(table: pd.DataFrame) -> None:
    """Raise UserError for an emotion with fewer utterances than there are parts."""
    counts = table["emotion"].value_counts()
    if counts.min() < len(PARTS):
        raise UserError(
            f"split=stratified: {counts.idxmin()} has fewer than {len(PARTS)} utterances, too few"
            " for three parts; remove it with data.labels or data.merge"
        )


def draw(
    rows: np.ndarray, strata: pd.Series, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay and those drawn, a `share` of every stratum.

    `strata` holds the stratum of every utterance. Raises UserError if there are too few.
    """
    try:
        kept, drawn = train_test_split(
            rows, test_size=share, stratify=strata.iloc[rows], random_state=seed
        )
    except ValueError as error:
        raise UserError(
            f"split=stratified cannot draw {share:.0%} of {len(rows):,} utterances of"
            f" {strata.iloc[rows].nunique()} pairs of emotion and corpus ({error}): use more data,"
            " or a larger split.val or split.test"
        ) from error
    return np.asarray(kept), np.asarray(drawn)


def split_by_corpus(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """The held-out corpora for testing; the others by speaker for training and validation.

    Validation is by sentence if each of the others has fewer than three speakers (TESS alone).
    """
    corpora = sorted(table["corpus"].unique())
    for name in config.held_out:
        if name not in corpora:
            raise UserError(f"split.held_out={name}: the data hold only {', '.join(corpora)}")
    held_out = table["corpus"].isin(config.held_out)
    if held_out.all():
        raise UserError(f"split.held_out={config.held_out} leaves nothing to train on")

    def share_out(corpus: pd.DataFrame) -> pd.Series:
        sizes = {"val": at_least_one(config.val * corpus["speaker"].nunique())}
        return draw_groups(corpus, sizes, config)

    rest = table[~held_out]
    speakers = rest.groupby("corpus")["speaker"].nunique()
    if (rest["speaker"] != "").all() and speakers.max() < FEWEST:
        parts = validate_by_sentence(rest, config)
    else:
        parts = by_corpus(rest, config, share_out, "speaker")
    return parts.reindex(table.index, fill_value="test")


def split_by_table(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """The `split` column of the user's table, or the part that the corpus publishes.

    Raises UserError if an utterance has neither.
    """
    known = table["split"].isin([*PARTS, UNUSED])
    if not known.all():
        first = table[~known].iloc[0]
        stated = f"{first['split']!r}" if first["split"] else "missing"
        raise UserError(
            f"split=table: the split of {(~known).sum():,} of {len(table):,} utterances is"
            f" unknown, such as {stated} for {first['id']}. Known are {', '.join(PART_WORDS)} and"
            f" {UNUSED}"
        )
    return table["split"].mask(table["split"] == UNUSED, "")


def split_as_before(table: pd.DataFrame, file: Path) -> pd.Series:
    """The parts of an earlier run, from its manifest.csv and the dropped.csv beside it.

    Utterances that its split left out are in no part again. Raises UserError if an utterance is in
    neither file or has another recording in the manifest.
    """
    before = read(file.expanduser()).set_index("id")
    parts = table["id"].map(before["split"])
    changed = parts.notna() & (table["id"].map(before["content"]) != table["content"])
    parts = parts.mask(table["id"].isin(read_left_out(file.expanduser().parent)), "")
    for wrong, problem in ((parts.isna(), "are not in it"), (changed, "were other recordings")):
        if wrong.any():
            example = table.loc[wrong, "id"].iloc[0]
            raise UserError(
                f"split.manifest={file}: {wrong.sum():,} of {len(table):,} utterances {problem},"
                f" such as {example}; use the manifest of a run on these data"
            )
    return parts


def read_left_out(run: Path) -> set[str]:
    """The ids of the utterances that the split of a run left out; empty without dropped.csv."""
    try:
        with (run / "dropped.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return set()
    return {row["id"] for row in rows if row.get("reason") == Reason.NOT_IN_SPLIT}


KINDS: dict[SplitKind, Callable[[pd.DataFrame, SplitConfig], pd.Series]] = {
    SplitKind.stratified: split_stratified,
    SplitKind.speaker: split_by_speaker,
    SplitKind.sentence: split_by_sentence,
    SplitKind.speaker_sentence: split_by_both,
    SplitKind.cross_speaker: split_across_speakers,
    SplitKind.corpus: split_by_corpus,
    SplitKind.folds: split_by_fold,
    SplitKind.table: split_by_table,
}


def check_emotions(table: pd.DataFrame, config: SplitConfig, labels: Sequence[str]) -> None:
    """Raise UserError if an emotion is missing from a part, or is the only one.

    A held-out corpus may lack emotions: CREMA-D has neither surprise nor calm.
    """
    counts = pd.crosstab(table["emotion"], table["split"])
    wanted = [*dict.fromkeys([*labels, *counts.index])]
    if len(wanted) < 2:
        raise UserError(
            f"the data have one emotion only ({wanted[0]}); a classifier needs two or more"
        )
    counts = counts.reindex(index=wanted, columns=list(PARTS), fill_value=0)
    may_miss = {"test"} if config.kind == SplitKind.corpus else set()
    for part in PARTS:
        missing = sorted(counts.index[counts[part] == 0])
        if missing and part not in may_miss:
            raise UserError(
                f"{config.described} leaves the {part} part without {', '.join(missing)}:"
                f" {describe(table)} cannot be split in this way; add corpora, change the shares,"
                " use another split, or choose classes with data.merge or data.labels"
            )


def describe(table: pd.DataFrame) -> str:
    corpora = ", ".join(sorted(table["corpus"].unique()))
    return f"{corpora} ({table['speaker'].nunique()} speakers, {len(table):,} utterances)"
