"""Finds the recordings that a user names: files, folders, globs, tables, standard input."""

import codecs
import copy
import glob
import io
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ser.audio import sniff
from ser.audio.recording import ChannelSource, name_source
from ser.audio.sniff import SUFFIXES
from ser.audio.stream import ADDRESS, count_channels
from ser.errors import UserError, amount
from ser.preparation.tables.names import is_hub_name, is_table
from ser.system.files import is_folder, list_files

if TYPE_CHECKING:
    from ser.preparation.tables.reader import Table

log = logging.getLogger(__name__)
WANTED = ("path", "start", "end")


class EmbeddedRecording(io.BytesIO):
    """A recording inside a table; `label` names it in messages and results."""

    def __init__(self, content: bytes, label: str) -> None:
        super().__init__(content)
        self.label = label


def find_all(names: Iterable[str]) -> Iterator[str | BinaryIO]:
    """The recordings behind the arguments, in their order; those of a folder sorted by name.

    A name that does not exist is returned unchanged, so that it is reported in its place. Raises
    UserError for a table that cannot be read.
    """
    for name in expand(names):
        if name == "-":
            yield from read_input(cast(io.BufferedIOBase, sys.stdin.buffer))
        elif is_table(name) or is_list(name):
            yield from read_paths(name)
        elif is_folder(name):
            yield from walk(name)
        else:
            yield name


def is_list(name: str) -> bool:
    """Whether a .txt file holds text, so that it is a table, and no recording."""
    if not (name.lower().endswith(".txt") and os.path.isfile(name)):  # noqa: PTH113 (any length)
        return False
    return not sniff.is_recording(Path(name))


def expand(names: Iterable[str]) -> Iterator[str]:
    """The names, with patterns replaced by what matches them, if anything does."""
    for name in names:
        if not name:
            raise UserError("the name of a recording is empty: is a shell variable not set?")
        found: list[str] = []
        if glob.has_magic(name) and not os.path.exists(name):  # noqa: PTH110 (any length)
            # Path.glob refuses patterns that begin at the root.
            found = sorted(glob.iglob(name, recursive=True))  # noqa: PTH207
        yield from found or [name]


def count(
    found: Iterator[str | BinaryIO],
) -> tuple[Iterator[str | BinaryIO], int | None]:
    """The recordings, and their number.

    It is None if some are inside a table: counting them would load all of their content.
    """
    paths: list[str | BinaryIO] = []
    for each in found:
        paths.append(each)
        if not isinstance(each, str):
            return chain(paths, found), None
    return iter(paths), len(paths)


def split_channels(
    sources: Iterable[str | BinaryIO],
) -> Iterator[str | BinaryIO | ChannelSource]:
    """Each channel of the recordings that have several, and the other sources unchanged."""
    for source in sources:
        try:
            channels = count_channels(source)
        except (UserError, OSError):  # reported when it is predicted
            channels = 1
        if channels == 1:
            yield source
            continue
        for channel in range(channels):
            # Threads decode the channels, and each needs a file position of its own.
            yield ChannelSource(copy.copy(source), channel)


def walk(folder: str) -> Iterator[str | BinaryIO]:
    """The recordings below a folder, then what cannot be read; the folder itself if it has none.

    Other files are skipped; their number and suffixes are logged. Without any recordings, Parquet
    files are taken for a data set.
    """
    unread: list[str] = []
    files = list_files(Path(folder), lambda error: unread.append(str(error.filename)))
    visible = [path for path in files if not is_hidden(path.relative_to(folder))]
    found = [str(path) for path in visible if is_audio(path.relative_to(folder))]
    sounds = sum(path.suffix.lower() in SUFFIXES for path in files)
    if hidden := sounds - len(found):
        log.warning(
            "%s: skipped %s, because a name that begins with a dot is hidden; name them to predict"
            " them",
            *(folder, amount(hidden, "recording")),
        )
    if not found and any(path.suffix.lower() == ".parquet" for path in visible):
        yield from read_paths(folder)
        return
    skipped = Counter(
        path.suffix.lower() or "no suffix"
        for path in visible
        if not is_audio(path.relative_to(folder))
    )
    if skipped:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in skipped.most_common(5))
        log.warning(
            "%s: skipped %s without the suffix of a recording (%s); name them to predict them",
            *(folder, amount(skipped.total(), "file"), counts),
        )
    yield from found or unread or [folder]
    yield from unread if found else []


def is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def is_audio(path: Path) -> bool:
    """Whether a path below a folder has the suffix of a recording and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not is_hidden(path)


def read_input(stream: io.BufferedIOBase) -> Iterator[str | BinaryIO]:
    """A buffered binary stream: one recording of any format, or paths of recordings, one per line.

    Paths are returned as they arrive. A list in UTF-16, as PowerShell writes it, and one with NUL
    bytes between paths, as of `find -print0`, are read whole. Raises UserError if the bytes are
    neither.
    """
    head, recording = sniff.read_input(stream)
    if recording:
        yield io.BytesIO(head + stream.read())
        return
    if head.startswith(sniff.UTF_16):
        text = (head + stream.read()).decode("utf-16", "replace")
        yield from filter(None, map(str.strip, text.splitlines()))
        return
    if b"\0" in head:
        yield from map(os.fsdecode, filter(None, (head + stream.read()).split(b"\0")))
        return
    head = head.removeprefix(codecs.BOM_UTF8)
    head += b"" if head.endswith(b"\n") else stream.readline()
    for line in chain(head.splitlines(), stream):
        if path := line.decode("utf-8", "surrogateescape").strip():
            yield path


def read_paths(source: str) -> Iterator[str | BinaryIO]:
    """The recordings of a table; see `read_rows`."""
    return (recording for recording, _ in read_rows(source))


def read_rows(source: str, speaker: str = "") -> Iterator[tuple[str | BinaryIO, str | None]]:
    """The recordings of a table, in any of the formats that training reads, with their speakers.

    `speaker` names the column of the speaker; without it, or in empty cells, it is None. The name
    `speaker` finds columns with usual names too, such as speaker_id. Relative paths start at the
    folder of the table or at the working directory. Raises UserError if the table has no such
    column, or if it has start or end times, because predictions are made for whole recordings.
    """
    if not is_hub_name(source) and not Path(source).exists():
        raise UserError(f"{source}: no such table.")
    from ser.preparation.tables.files import locate_files
    from ser.preparation.tables.raw import SPACE, is_missing
    from ser.preparation.tables.reader import read_table

    chosen = {"speaker": speaker} if speaker not in ("", "speaker") else {}
    table = read_table(source, (*WANTED, "speaker") if speaker else WANTED, chosen)
    refuse_parts(table)
    speakers = list_speakers(table) if speaker else [None] * len(table.rows)
    if table.audio is not None:
        rows = zip(table.audio.read(), speakers, strict=True)
        for row, ((content, path), who) in enumerate(rows, 1):
            label = f"{source}#{row}{f' {path}' if path else ''}"
            if content is None:
                yield locate_files([path], table.folder)[path], who
            else:
                yield EmbeddedRecording(content, label), who
        return
    missing = is_missing(table.rows["path"])
    if missing.any():
        log.warning("%s: %s rows without a path skipped", source, f"{missing.sum():,}")
    names = table.rows["path"][~missing].str.strip(SPACE)
    located = locate_files(names, table.folder)
    located |= {name: name for name in names if ADDRESS.match(name)}  # reported in its place
    kept = [who for who, gone in zip(speakers, missing, strict=True) if not gone]
    yield from zip((located[name] for name in names), kept, strict=True)


def refuse_parts(table: "Table") -> None:
    """Raise UserError for start and end times that name parts of recordings."""
    from ser.preparation.table import read_numbers
    from ser.preparation.tables.raw import clean

    for name in table.rows.columns.intersection(["start", "end"]):
        # A start of zero and no end mean the whole recording, as audformat writes it.
        if (read_numbers(clean(table.rows[name]), name, table).fillna(0.0) != 0.0).any():
            raise UserError(
                f"{table.source} names parts of recordings by {name}, but predictions are made for"
                " whole recordings: cut them first, or remove the columns start and end (--window"
                " then gives a timeline of each recording)"
            )


def list_speakers(table: "Table") -> list[str | None]:
    """The speaker of each row, None in empty cells; raises UserError if there is no such column."""
    from ser.preparation.tables.raw import clean

    if "speaker" not in table.rows:
        raise UserError(
            f"{table.source} has no column of the speaker: name one, --adapt=COLUMN, or use a bare"
            " --adapt for recordings of one speaker"
        )
    return [each or None for each in clean(table.rows["speaker"])]


def find_with_speakers(
    names: Iterable[str], adapt: str
) -> tuple[list[str | BinaryIO], list[str | None]]:
    """The recordings behind the arguments, and the speaker of each (None: unknown).

    For tables `adapt` is the column of the speaker, for other recordings a regular expression on
    their path (see `name_speakers`); if it is empty, all are of one speaker.
    """
    found: list[str | BinaryIO] = []
    speakers: list[str | None] = []
    others: list[int] = []
    for name in expand(names):
        table = is_table(name) or is_list(name)
        rows = read_rows(name, adapt) if table else ((each, None) for each in find_all([name]))
        for recording, speaker in rows:
            if not table:
                others.append(len(found))
            found.append(recording)
            speakers.append(speaker)
    if not adapt:
        return found, [""] * len(found)
    paths = [name_source(found[place]) for place in others]
    for place, speaker in zip(others, name_speakers(paths, adapt) if others else [], strict=True):
        speakers[place] = speaker
    return found, speakers


def name_speakers(paths: Sequence[str | None], pattern: str) -> list[str | None]:
    """The speaker of each path by a regular expression: its first group, or the whole match.

    Without a match it is None. Raises UserError if the pattern is invalid or matches no path.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--adapt={pattern} is not a regular expression: {error}") from error
    matches = [compiled.search(path or "") for path in paths]
    if not any(matches):
        raise UserError(
            f"--adapt={pattern} matches none of the {len(paths):,} paths, such as {paths[0]}: name"
            " a column of a table, or a regular expression whose first group is the speaker; for"
            " one speaker in all recordings, use a bare --adapt"
        )
    return [None if each is None else each[min(1, compiled.groups)] for each in matches]
