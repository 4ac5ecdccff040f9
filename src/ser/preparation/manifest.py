"""The table of utterances: measured, cleaned, written and read; every dropped file is recorded.

Each step takes a Manifest and returns a new one. What a step removes from `utterances` it adds to
`dropped` with a reason.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import pandas as pd

from ser.audio.cache import AudioCache
from ser.audio.recording import Fault
from ser.errors import UserError
from ser.system.atomic import replacing

log = logging.getLogger(__name__)
COLUMNS = (
    "id", "corpus", "speaker", "gender", "age", "race", "ethnicity", "emotion", "intended",
    "perceived", "agreement", "intensity", "sentence", "start", "end", "seconds", "sample_rate",
    "channels", "format", "clipped", "content", "recording", "note", "split", "path",
)  # fmt: skip
# Columns that older manifests do not have.
OPTIONAL = ("age", "race", "ethnicity", "intensity")
# Columns from file names or a table. The others are measured or set by `ser.preparation.splits`.
STATED = (*COLUMNS[: COLUMNS.index("seconds")], "note", "split", "path")
DROPPED_COLUMNS = ("path", "corpus", "id", "emotion", "reason", "detail")
CORPUS_COLUMNS = ("corpus", "title", "origin", "folder", "files", "licence", "citation")
NUMBERS = ("agreement", "start", "end", "seconds", "sample_rate", "channels", "clipped")
# Read as text, or the sentence 01 would become the number 1.
TEXT = {name: "str" for name in COLUMNS if name not in NUMBERS}
REMEDIES = {
    Fault.LFS_POINTER.value: "Git LFS pointers, not audio: run `git lfs pull` in that folder",
}
EXAMPLES = 3  # files that a message names


class Reason(StrEnum):
    """Why a file is not used; `ser.audio.recording.Fault` adds the faults of its content."""

    OFF_GRAMMAR = "off_grammar"
    LEFT_OUT = "left_out"
    AMBIGUOUS = "ambiguous"
    MIRROR = "mirror"
    DUPLICATE = "duplicate"
    LABEL_CONFLICT = "label_conflict"
    NOT_IN_SPLIT = "not_in_split"


@dataclass(frozen=True)
class Manifest:
    """Utterances (one row each, COLUMNS), dropped files (DROPPED_COLUMNS), and their corpora.

    `content` is a hash of the samples. Copies of one recording share `recording`: the `content` of
    one of them.
    `corpora` has a row for each corpus (CORPUS_COLUMNS). Columns that do not apply are empty:
    `agreement` and `perceived` without votes, `start` and `end` for whole files.
    """

    utterances: pd.DataFrame
    dropped: pd.DataFrame
    corpora: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=pd.Index(CORPUS_COLUMNS))
    )

    def drop(self, reasons: pd.Series, details: pd.Series) -> "Manifest":
        """Without the utterances whose reason is not empty; both series share their index."""
        out = reasons != ""
        rows = self.utterances[out].assign(reason=reasons[out], detail=details[out])
        dropped = pd.concat([self.dropped, rows[list(DROPPED_COLUMNS)]], ignore_index=True)
        return replace(
            self, utterances=self.utterances[~out].reset_index(drop=True), dropped=dropped
        )

    @property
    def fingerprint(self) -> str:
        """A hash of ids, labels, samples and parts; paths and the order of rows do not matter."""
        columns = self.utterances[["id", "emotion", "content", "split"]].sort_values("id")
        return hashlib.sha256(columns.to_csv(index=False).encode()).hexdigest()

    def part(self, name: str) -> pd.DataFrame:
        """The utterances of a part (train, val or test), numbered from 0."""
        return self.utterances[self.utterances["split"] == name].reset_index(drop=True)

    def write(self, folder: Path) -> None:
        """Write `manifest.csv`, `dropped.csv` and `corpora.csv`, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"manifest": self.utterances, "dropped": self.dropped, "corpora": self.corpora}
        for name, table in tables.items():
            with replacing(folder / f"{name}.csv") as file:
                table.to_csv(file, index=False, mode="wb")

    def describe_dropped(self) -> str:
        """How many files were left out, by reason with examples; mirror copies do not count."""
        dropped = self.dropped[self.dropped["reason"] != Reason.MIRROR]
        groups = {str(name): rows for name, rows in dropped.groupby("reason")}
        parts = [
            f"{len(rows):,} {REMEDIES.get(reason, reason)} ({show_examples(rows)})"
            for reason, rows in sorted(groups.items(), key=lambda group: -len(group[1]))
        ]
        total = len(dropped) + len(self.utterances)
        if dropped.empty:
            return f"none of {total:,} files was left out"
        return f"{len(dropped):,} of {total:,} files were left out: {'; '.join(parts)}"


class PreparationError(UserError):
    """Data that cannot be used, with what is known of each file in `manifest`."""

    def __init__(self, message: str, manifest: Manifest) -> None:
        super().__init__(message)
        self.manifest = manifest


@contextmanager
def keeping_dropped(folder: Path) -> Iterator[None]:
    """Write `dropped.csv` into the folder if the preparation in the block fails."""
    try:
        yield
    except PreparationError as error:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "dropped.csv") as file:
            error.manifest.dropped.to_csv(file, index=False, mode="wb")
        if error.manifest.dropped.empty:
            raise
        message = f"{error} All files that were left out: {folder / 'dropped.csv'}"
        raise PreparationError(message, error.manifest) from error


def show_examples(dropped: pd.DataFrame) -> str:
    """The first few files and what is wrong with each, if that is known."""
    rows = dropped.head(EXAMPLES).itertuples()
    return ", ".join(f"{row.path}{': ' if row.detail else ''}{row.detail}" for row in rows)


def read(path: Path) -> pd.DataFrame:
    """The utterances of a `manifest.csv`, also of earlier versions.

    Raises UserError if the file is not a manifest.
    """
    try:
        table = pd.read_csv(
            path,
            dtype=TEXT,
            keep_default_na=False,
            na_values={name: [""] for name in NUMBERS},
        )
    except ValueError as error:
        raise UserError(f"{path} is not a manifest: {error}") from error
    missing = [name for name in COLUMNS if name not in table.columns and name not in OPTIONAL]
    if missing:
        raise UserError(f"{path} is not a manifest: it has no column {', '.join(missing)}")
    return table.reindex(columns=list(COLUMNS), fill_value="").astype(TEXT)


def measure(manifest: Manifest, cache: AudioCache) -> Manifest:
    """Decode all files and add what was measured; files with unusable content are dropped."""
    table = manifest.utterances
    clips = cache.add(table[["path", "start", "end"]].fillna({"start": 0.0, "end": 0.0}))
    names = ["seconds", "sample_rate", "channels", "format", "clipped", "content"]
    facts = clips[names].assign(recording=clips["content"])
    notes = table["note"].str.cat(clips["note"], sep="; ").str.strip("; ")
    measured = replace(manifest, utterances=table.join(facts).assign(note=notes)[list(COLUMNS)])
    measured = measured.drop(clips["fault"], clips["detail"])
    log_notes(clips[(clips["note"] != "") & (clips["fault"] == "")])
    check_present(measured, manifest)
    return measured


def log_notes(noted: pd.DataFrame) -> None:
    """Log how many files are used although something is wrong with them, with examples."""
    if noted.empty:
        return
    examples = noted.drop_duplicates("note")[:EXAMPLES]
    shown = ", ".join(f"{each.path} ({each.note})" for each in examples.itertuples())
    log.warning("%s files are used with a note, such as %s", f"{len(noted):,}", shown)


def check_present(manifest: Manifest, before: Manifest) -> None:
    """Raise PreparationError if no file of a corpus can be used."""
    left = set(manifest.utterances["corpus"])
    for corpus in before.utterances["corpus"].unique():
        if corpus not in left:
            lost = manifest.dropped[manifest.dropped["corpus"] == corpus]
            lost = replace(manifest, utterances=manifest.utterances.iloc[:0], dropped=lost)
            raise PreparationError(
                f"no file of {corpus} can be used; {lost.describe_dropped()}.", manifest
            )


def deduplicate(manifest: Manifest, *, contents: bool = True) -> Manifest:
    """One row for each recording; recordings with several labels are dropped altogether.

    Copies of one utterance (same id) are mirrors. Other utterances with the same decoded samples
    are duplicates. If `contents` is false, they stay, and only utterances that themselves have
    several labels are dropped. Which copy stays does not depend on the order of the rows. Raises
    UserError if one id has several recordings.
    """
    # The copy nearest to the root of its corpus stays: mirrors are in subfolders.
    depth = manifest.utterances["path"].str.count(re.escape(os.sep))
    order = manifest.utterances.assign(depth=depth).sort_values(["depth", "path", "start", "id"])
    table = order.drop(columns="depth")
    check_ids(table)
    first = table.groupby("content")["path"].transform("first")
    same = table.groupby("content" if contents else "id")
    conflict = same["emotion"].transform("nunique") > 1
    mirror = table.duplicated(["id", "emotion"])
    labelled = table["id"] + " (" + table["emotion"] + ")"
    names = labelled[conflict & ~mirror].groupby(table["content"]).agg(" = ".join)
    reasons = pd.Series("", index=table.index, dtype="str")
    reasons[table.duplicated("content") & contents] = Reason.DUPLICATE.value
    reasons[conflict] = Reason.LABEL_CONFLICT.value
    reasons[mirror] = Reason.MIRROR.value
    details = ("same samples as " + first).mask(conflict & ~mirror, table["content"].map(names))
    return replace(manifest, utterances=table).drop(reasons, details)


def check_ids(table: pd.DataFrame) -> None:
    """Raise UserError if one id has two contents: either could be the right one."""
    contents = table.groupby("id")["content"].transform("nunique")
    clash = table[contents > 1]
    if not clash.empty:
        one = clash["id"].iloc[0]
        paths = clash.loc[clash["id"] == one].drop_duplicates("content")["path"]
        raise UserError(f"{one} has different recordings: {' and '.join(paths)}; remove one")


def refuse_drops(manifest: Manifest) -> None:
    """Raise PreparationError if any file was left out."""
    dropped = manifest.dropped
    if not dropped.empty:
        counts = ", ".join(f"{n:,} {why}" for why, n in dropped["reason"].value_counts().items())
        raise PreparationError(
            f"data.strict=true: {len(dropped):,} files would be left out ({counts}), such as"
            f" {dropped['path'].iloc[0]}; repair or remove them, or set data.strict=false.",
            manifest,
        )
