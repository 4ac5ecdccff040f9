"""Checks that nothing is shared between parts of a split that promises so."""

import logging
from dataclasses import dataclass

import pandas as pd

from ser.config.split import Part, SplitConfig, SplitKind
from ser.errors import UserError, amount
from ser.metrics.sentences import SentenceBaseline, name_sentences, sentence_baselines

log = logging.getLogger(__name__)

# What the parts of each kind of split must not share, apart from recordings.
PROMISES: dict[SplitKind, tuple[str, ...]] = {
    SplitKind.speaker: ("speakers",),
    SplitKind.sentence: ("sentences",),
    SplitKind.speaker_sentence: ("speakers", "sentences"),
    SplitKind.cross_speaker: (),  # see check_test_speakers
    SplitKind.corpus: (),  # see check_test_speakers
    SplitKind.folds: ("speakers",),
}


@dataclass(frozen=True)
class Leaks:
    """What is in more than one part: speakers, recordings (with their copies), sentences."""

    speakers: tuple[str, ...]
    recordings: tuple[str, ...]
    sentences: tuple[str, ...] = ()


def check_leaks(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise UserError if two parts share what the split promises to keep apart.

    A stratified split and the split of a table promise nothing; `find_leaks` reports what they
    share.
    """
    if config.kind not in PROMISES:
        return
    leaks = find_leaks(table)
    if leaks.recordings:
        copies = table[table["recording"] == leaks.recordings[0]]
        shared = amount(len(leaks.recordings), "recording")
        raise UserError(
            f"split={config.kind} leaks: {shared} in two parts under different names"
            f" (re-encoded or trimmed), such as {' ~ '.join(copies['path'])};"
            " remove all copies but one, or set data.near_duplicates=false if they are not copies"
        )
    for name in PROMISES[config.kind]:
        refuse(getattr(leaks, name), name.removesuffix("s"), config)
    if config.kind in (SplitKind.cross_speaker, SplitKind.corpus):
        check_test_speakers(table, config)


def warn_of_sentences(table: pd.DataFrame) -> None:
    """Log a warning for each corpus whose sentences give the label away."""
    for name, found in measure_sentences(table).items():
        if found.gives_away:
            log.warning(
                "%s: the sentence alone gives the emotion away (UAR %.3f, chance %.3f), so"
                " scores are too high for models that recognise words; split=sentence avoids that",
                *(name, found.uar or 0, found.chance),
            )


def check_test_speakers(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise UserError if a speaker of the test part is in another part too.

    Training and validation part may share speakers, but then none of their sentences.
    """
    seen = table["split"].mask(table["split"] == Part.val, Part.train)
    refuse(find_leaks(table.assign(split=seen)).speakers, "speaker", config)
    rest = table[table["split"] != Part.test]
    shared = find_leaks(rest).speakers
    theirs = rest[rest["speaker"].isin(shared)]
    if (theirs["sentence"] == "").any():
        refuse(shared, "speaker", config)
    refuse(find_leaks(theirs).sentences, "sentence", config)


def refuse(shared: tuple[str, ...], name: str, config: SplitConfig) -> None:
    """Raise UserError if parts share something; `name` says what: speaker or sentence."""
    if shared:
        raise UserError(
            f"split={config.kind} leaks: {amount(len(shared), name)} in two parts, such as"
            f" {shared[0]}; use split=stratified, or another split.manifest"
        )


def find_leaks(table: pd.DataFrame) -> Leaks:
    """The speakers, recordings and sentences that are in more than one part."""

    def shared(values: pd.Series) -> tuple[str, ...]:
        known = values != ""
        parts = table.loc[known, "split"].groupby(values[known]).nunique()
        return tuple(sorted(parts.index[parts > 1]))

    return Leaks(
        speakers=shared(table["speaker"]),
        recordings=shared(table["recording"]),
        sentences=shared(name_sentences(table)),
    )


def measure_sentences(table: pd.DataFrame) -> dict[str, SentenceBaseline]:
    """What the sentences of the test part say about the emotion, by corpus, without audio."""
    train, test = table[table["split"] == Part.train], table[table["split"] == Part.test]
    return {} if test.empty else sentence_baselines(train, test)


def check_held_out(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise UserError if the split of an earlier run does not hold out the `split.held_out`."""
    if config.kind != SplitKind.corpus:
        return
    wrong = table["corpus"].isin(config.held_out) != (table["split"] == "test")
    if wrong.any():
        first = table[wrong].iloc[0]
        raise UserError(
            f"split.held_out={config.held_out}, but in split.manifest={config.manifest} the part of"
            f" {first['id']} is {first['split']}: remove split.manifest, or choose another split"
        )
