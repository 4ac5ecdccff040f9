"""Proof that nothing leaks between the parts of a split that promises so."""

from dataclasses import dataclass

import pandas as pd

from ser.data_config import SplitConfig, SplitKind


@dataclass(frozen=True)
class Leaks:
    """What is in more than one part: speakers, and recordings (with their copies)."""

    speakers: tuple[str, ...]
    recordings: tuple[str, ...]


def check_leaks(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise ValueError where a speaker or a recording is in two parts, if the split promises not.

    A stratified split and a user's own only report it (`find_leaks`).
    """
    leaks = find_leaks(table)
    if config.kind in (SplitKind.stratified, SplitKind.table):
        return
    if leaks.recordings:
        copies = table[table["recording"] == leaks.recordings[0]]
        raise ValueError(
            f"split={config.kind} leaks: {len(leaks.recordings)} recordings are in two parts under"
            f" different names (re-encoded or trimmed), as {' ~ '.join(copies['path'])}; remove all"
            " copies but one, or use data.near_duplicates=false if they are none"
        )
    if leaks.speakers:
        raise ValueError(
            f"split={config.kind} leaks: {len(leaks.speakers)} speakers are in two parts,"
            f" {leaks.speakers[0]} among them; use split=stratified, or another manifest"
        )


def find_leaks(table: pd.DataFrame) -> Leaks:
    """The speakers and the recordings that are in more than one part."""

    def shared(column: str) -> tuple[str, ...]:
        parts = table[table[column] != ""].groupby(column)["split"].nunique()
        return tuple(sorted(parts.index[parts > 1]))

    return Leaks(speakers=shared("speaker"), recordings=shared("recording"))


def check_held_out(table: pd.DataFrame, config: SplitConfig) -> None:
    """Raise ValueError where an earlier split does not hold out what split.held_out names."""
    if config.kind != SplitKind.corpus:
        return
    wrong = table["corpus"].isin(config.held_out) != (table["split"] == "test")
    if wrong.any():
        first = table[wrong].iloc[0]
        raise ValueError(
            f"split.held_out={config.held_out}, but split.from={config.reuse} has {first['id']}"
            f" in the {first['split']} part: leave split.from out, or choose another split"
        )
