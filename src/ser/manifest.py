"""The table of utterances: built from file names and decoded audio, cleaned, every drop accounted.

Each step takes a Manifest and returns a new one; what a step takes out of `utterances` it puts
into `dropped` with its reason.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import pandas as pd

from ser.audio import AudioCache, Fault
from ser.corpora import CORPORA

COLUMNS = (
    "id", "corpus", "speaker", "gender", "emotion", "sentence", "seconds", "sample_rate",
    "channels", "format", "content", "note", "split", "path",
)  # fmt: skip
DROPPED_COLUMNS = ("path", "corpus", "id", "emotion", "reason", "detail")
# Read as text, or the sentence 01 would come back as the number 1.
TEXT = {name: "str" for name in COLUMNS if name not in ("seconds", "sample_rate", "channels")}
REMEDIES = {
    Fault.LFS_POINTER.value: "Git LFS pointers, not audio: run `git lfs pull` in that folder",
}


class Reason(StrEnum):
    """Why a file is not used; the faults of its content (`ser.audio.Fault`) come on top."""

    OFF_GRAMMAR = "off_grammar"
    MIRROR = "mirror"
    DUPLICATE = "duplicate"
    LABEL_CONFLICT = "label_conflict"


@dataclass(frozen=True)
class Manifest:
    """Utterances (one row each, COLUMNS) and dropped files (DROPPED_COLUMNS)."""

    utterances: pd.DataFrame
    dropped: pd.DataFrame

    def drop(self, reasons: pd.Series, details: pd.Series) -> "Manifest":
        """Without the utterances whose reason is not empty; both series share their index."""
        out = reasons != ""
        rows = self.utterances[out].assign(reason=reasons[out], detail=details[out])
        dropped = pd.concat([self.dropped, rows[list(DROPPED_COLUMNS)]], ignore_index=True)
        return Manifest(self.utterances[~out].reset_index(drop=True), dropped)

    @property
    def fingerprint(self) -> str:
        """A hash of who says what in which part; file locations and order do not count."""
        columns = self.utterances[["id", "emotion", "content", "split"]].sort_values("id")
        return hashlib.sha256(columns.to_csv(index=False).encode()).hexdigest()

    def part(self, name: str) -> pd.DataFrame:
        return self.utterances[self.utterances["split"] == name].reset_index(drop=True)

    def write(self, folder: Path) -> None:
        """Write `manifest.csv` and `dropped.csv`, each whole or not at all."""
        for table, name in ((self.utterances, "manifest.csv"), (self.dropped, "dropped.csv")):
            temporary = folder / f"{name}.tmp"
            table.to_csv(temporary, index=False)
            temporary.replace(folder / name)


def read(path: Path) -> pd.DataFrame:
    """The utterances of a `manifest.csv`."""
    return pd.read_csv(path, dtype=TEXT, keep_default_na=False)


def build(folders: Mapping[str, Path], cache: AudioCache) -> Manifest:
    """The cleaned manifest of the corpora in these folders (by corpus name), not yet split."""
    manifest = parse_names(folders)
    manifest = measure(manifest, cache)
    manifest = deduplicate(manifest)
    return Manifest(manifest.utterances.sort_values("id", ignore_index=True), manifest.dropped)


def list_files(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; linked folders are entered, each only once."""
    files, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        files.extend(Path(parent, name) for name in names)
    return sorted(files)


def parse_names(folders: Mapping[str, Path]) -> Manifest:
    """What the file names say; names off the grammar are dropped.

    Raises ValueError where a folder holds no file of its corpus.
    """
    rows, dropped = [], []
    for name, folder in folders.items():
        corpus, known = CORPORA[name], len(rows)
        for path in list_files(folder.absolute()):
            try:
                utterance = corpus.parse(path.relative_to(folder.absolute()))
            except ValueError as error:
                values = (str(path), name, "", "", Reason.OFF_GRAMMAR.value, str(error))
                dropped.append(dict(zip(DROPPED_COLUMNS, values, strict=True)))
            else:
                facts = asdict(utterance) | {"id": f"{name}/{utterance.id}"}
                facts["speaker"] = f"{name}/{utterance.speaker}"
                rows.append(
                    facts | {"emotion": str(utterance.emotion), "corpus": name, "path": str(path)}
                )
        if len(rows) == known:
            raise ValueError(
                f"{folder} holds no file named as in {corpus.title}; see data.paths.{name}"
            )
    return Manifest(pd.DataFrame(rows), pd.DataFrame(dropped, columns=pd.Index(DROPPED_COLUMNS)))


def measure(manifest: Manifest, cache: AudioCache) -> Manifest:
    """Add what decoding tells of each file; files whose content cannot be used are dropped."""
    clips = cache.add([Path(path) for path in manifest.utterances["path"]])
    names = ["seconds", "sample_rate", "channels", "format", "content", "fault", "detail"]
    facts = pd.DataFrame([asdict(clip) for clip in clips], index=manifest.utterances.index)[names]
    utterances = manifest.utterances.join(facts.drop(columns=["fault", "detail"])).assign(split="")
    measured = Manifest(utterances[list(COLUMNS)], manifest.dropped)
    measured = measured.drop(facts["fault"], facts["detail"])
    check_present(measured, manifest.utterances["corpus"].unique())
    return measured


def check_present(manifest: Manifest, corpora: Iterable[str]) -> None:
    """Raise ValueError where nothing is left of a corpus, rather than go on without it."""
    for corpus in corpora:
        if not (manifest.utterances["corpus"] == corpus).any():
            lost = manifest.dropped[manifest.dropped["corpus"] == corpus]
            fault = lost["reason"].value_counts().idxmax()
            raise ValueError(
                f"none of the {len(lost)} files of {CORPORA[corpus].title} can be used; most are"
                f" {REMEDIES.get(str(fault), fault)} ({lost['path'].iloc[-1]})"
            )


def deduplicate(manifest: Manifest) -> Manifest:
    """One row for each recording; recordings under two labels are dropped whole.

    Copies of one utterance (same id) are mirrors; other utterances with the same decoded samples
    are duplicates. Which one stays does not depend on the order of the rows. Raises ValueError
    where one id stands for different recordings.
    """
    # The copy nearest the root of its corpus stays: mirrors lie in subfolders.
    order = manifest.utterances["path"].map(lambda path: (path.count(os.sep), path))
    table = manifest.utterances.loc[order.sort_values().index]
    check_ids(table)
    first = table.groupby("content")["path"].transform("first")
    conflict = table.groupby("content")["emotion"].transform("nunique") > 1
    mirror = table.duplicated("id")
    names = table[conflict & ~mirror].groupby("content")["id"].agg(" = ".join)
    reasons = pd.Series("", index=table.index, dtype="str")
    reasons[table.duplicated("content")] = Reason.DUPLICATE.value
    reasons[conflict] = Reason.LABEL_CONFLICT.value
    reasons[mirror] = Reason.MIRROR.value
    details = ("same samples as " + first).mask(conflict & ~mirror, table["content"].map(names))
    return Manifest(table, manifest.dropped).drop(reasons, details)


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
