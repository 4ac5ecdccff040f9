"""The table of utterances: measured, cleaned, written and read; every drop accounted for.

Each step takes a Manifest and returns a new one; what a step takes out of `utterances` it puts
into `dropped` with its reason.
"""

import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import pandas as pd

from ser.atomic import replacing
from ser.audio import Fault
from ser.cache import AudioCache

COLUMNS = (
    "id", "corpus", "speaker", "gender", "emotion", "intended", "perceived", "agreement",
    "sentence", "start", "end", "seconds", "sample_rate", "channels", "format", "clipped",
    "content", "recording", "note", "split", "path",
)  # fmt: skip
# As file names or a table state them; the others are measured, or left to `ser.splits`.
STATED = (*COLUMNS[: COLUMNS.index("seconds")], "note", "split", "path")
DROPPED_COLUMNS = ("path", "corpus", "id", "emotion", "reason", "detail")
CORPUS_COLUMNS = ("corpus", "title", "origin", "folder", "files", "licence", "citation")
NUMBERS = ("agreement", "start", "end", "seconds", "sample_rate", "channels", "clipped")
# Read as text, or the sentence 01 would come back as the number 1.
TEXT = {name: "str" for name in COLUMNS if name not in NUMBERS}
REMEDIES = {
    Fault.LFS_POINTER.value: "Git LFS pointers, not audio: run `git lfs pull` in that folder",
}


class Reason(StrEnum):
    """Why a file is not used; the faults of its content (`ser.audio.Fault`) come on top."""

    OFF_GRAMMAR = "off_grammar"
    LEFT_OUT = "left_out"
    AMBIGUOUS = "ambiguous"
    MIRROR = "mirror"
    DUPLICATE = "duplicate"
    LABEL_CONFLICT = "label_conflict"


@dataclass(frozen=True)
class Manifest:
    """Utterances (one row each, COLUMNS), dropped files (DROPPED_COLUMNS), and where they are from.

    `content` is a hash of the samples, `recording` that of the recording it is a copy of. `corpora`
    has a row for each corpus (CORPUS_COLUMNS). Columns that do not apply are empty:
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
        """A hash of who says what in which part; file locations and order do not count."""
        columns = self.utterances[["id", "emotion", "content", "split"]].sort_values("id")
        return hashlib.sha256(columns.to_csv(index=False).encode()).hexdigest()

    def part(self, name: str) -> pd.DataFrame:
        return self.utterances[self.utterances["split"] == name].reset_index(drop=True)

    def write(self, folder: Path) -> None:
        """Write `manifest.csv`, `dropped.csv` and `corpora.csv`, each whole or not at all."""
        tables = {"manifest": self.utterances, "dropped": self.dropped, "corpora": self.corpora}
        for name, table in tables.items():
            with replacing(folder / f"{name}.csv") as file:
                table.to_csv(file, index=False, mode="wb")


def read(path: Path) -> pd.DataFrame:
    """The utterances of a `manifest.csv`.

    Raises ValueError where the file is another one.
    """
    try:
        return pd.read_csv(
            path,
            dtype=TEXT,
            usecols=list(COLUMNS),
            keep_default_na=False,
            na_values={name: [""] for name in NUMBERS},
        )[list(COLUMNS)]
    except ValueError as error:
        raise ValueError(f"{path} is no manifest of this version: {error}") from error


def measure(manifest: Manifest, cache: AudioCache) -> Manifest:
    """Add what decoding tells of each file; files whose content cannot be used are dropped."""
    table = manifest.utterances
    clips = cache.add(table[["path", "start", "end"]].fillna({"start": 0.0, "end": 0.0}))
    names = ["seconds", "sample_rate", "channels", "format", "clipped", "content"]
    facts = clips[names].assign(recording=clips["content"])
    measured = replace(manifest, utterances=table.join(facts)[list(COLUMNS)])
    measured = measured.drop(clips["fault"], clips["detail"])
    check_present(measured, manifest)
    return measured


def check_present(manifest: Manifest, before: Manifest) -> None:
    """Raise ValueError where nothing is left of a corpus, rather than go on without it."""
    left = set(manifest.utterances["corpus"])
    for corpus in before.utterances["corpus"].unique():
        if corpus not in left:
            lost = manifest.dropped[manifest.dropped["corpus"] == corpus]
            fault = str(lost["reason"].value_counts().idxmax())
            example = lost[lost["reason"] == fault].iloc[-1]
            raise ValueError(
                f"none of the {len(lost):,} files of {corpus} can be used; most are"
                f" {REMEDIES.get(fault, fault)} ({example['path']}"
                f"{': ' if example['detail'] else ''}{example['detail']})"
            )


def deduplicate(manifest: Manifest) -> Manifest:
    """One row for each recording; recordings under two labels are dropped whole.

    Copies of one utterance (same id) are mirrors; other utterances with the same decoded samples
    are duplicates. Which one stays does not depend on the order of the rows. Raises ValueError
    where one id stands for different recordings.
    """
    # The copy nearest the root of its corpus stays: mirrors lie in subfolders.
    depth = manifest.utterances["path"].str.count(re.escape(os.sep))
    order = manifest.utterances.assign(depth=depth).sort_values(["depth", "path", "start", "id"])
    table = order.drop(columns="depth")
    check_ids(table)
    first = table.groupby("content")["path"].transform("first")
    conflict = table.groupby("content")["emotion"].transform("nunique") > 1
    mirror = table.duplicated(["id", "emotion"])
    names = table[conflict & ~mirror].groupby("content")["id"].agg(" = ".join)
    reasons = pd.Series("", index=table.index, dtype="str")
    reasons[table.duplicated("content")] = Reason.DUPLICATE.value
    reasons[conflict] = Reason.LABEL_CONFLICT.value
    reasons[mirror] = Reason.MIRROR.value
    details = ("same samples as " + first).mask(conflict & ~mirror, table["content"].map(names))
    return replace(manifest, utterances=table).drop(reasons, details)


def check_ids(table: pd.DataFrame) -> None:
    """Raise ValueError where one id has two contents: which one is right cannot be told."""
    contents = table.groupby("id")["content"].transform("nunique")
    clash = table[contents > 1]
    if not clash.empty:
        one = clash["id"].iloc[0]
        paths = clash.loc[clash["id"] == one].drop_duplicates("content")["path"]
        raise ValueError(
            f"{one} stands for different recordings: {' and '.join(paths)}; remove one"
        )


def refuse_drops(manifest: Manifest) -> None:
    """Raise ValueError where any file was left out."""
    dropped = manifest.dropped
    if not dropped.empty:
        counts = ", ".join(f"{n:,} {why}" for why, n in dropped["reason"].value_counts().items())
        raise ValueError(
            f"data.strict=true: {len(dropped):,} files would be left out ({counts}),"
            f" {dropped['path'].iloc[0]} among them; mend or remove them, or allow it with"
            " data.strict=false"
        )
