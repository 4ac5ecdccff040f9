"""Where recordings are named: files, folders, globs, tables, standard input."""

import csv
import glob
import io
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from ser.files import list_files

SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf", ".w64", ".rf64"}
)
TABLES = frozenset({".csv", ".tsv", ".parquet"})
# How audio begins: on standard input it is told from a list of paths by that.
MAGIC = (
    b"RIFF",
    b"RF64",
    b"riff",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xfb",
    b"FORM",
    b".snd",
    b"caff",
)
COLUMN, ENDS = "path", ("start", "end")


def find_all(names: Iterable[str]) -> Iterator[str | BinaryIO]:
    """The recordings that the arguments stand for, in their order; those of a folder by name.

    What is not there is handed on as it is, to be reported in its place. Raises ValueError for a
    table that cannot be read.
    """
    for name in names:
        if name == "-":
            yield from read_input(sys.stdin.buffer)
        elif Path(name).is_dir():
            yield from walk(name)
        elif Path(name).suffix.lower() in TABLES:
            yield from read_table(Path(name))
        elif not Path(name).exists() and glob.has_magic(name):
            # Path.glob refuses patterns that begin at the root.
            found = sorted(glob.iglob(name, recursive=True))  # noqa: PTH207
            yield from find_all(found) if found else [name]
        else:
            yield name


def walk(folder: str) -> Iterator[str]:
    """The audio files below a folder, or itself where there are none; and what cannot be read."""
    unread: list[str] = []
    files = list_files(Path(folder), lambda error: unread.append(str(error.filename)))
    found = [str(path) for path in files if is_audio(path.relative_to(folder))]
    yield from found or unread or [folder]
    yield from unread if found else []


def is_audio(path: Path) -> bool:
    """By its suffix; what is hidden, or in a hidden folder, is not meant."""
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def read_input(stream: BinaryIO) -> Iterator[str | BinaryIO]:
    """Standard input: one recording, or the paths of recordings, one a line."""
    head = stream.read(4)
    if head.startswith(MAGIC):
        yield io.BytesIO(head + stream.read())
        return
    for line in chain((head + stream.readline()).splitlines(), stream):
        if path := line.decode("utf-8", "surrogateescape").strip():
            yield path


def read_table(path: Path) -> Iterator[str]:
    """The column `path` of a CSV, TSV or Parquet file; relative ones start where the table lies.

    Raises ValueError where the table means parts of recordings: only whole ones are judged.
    """
    paths = read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path)
    return (str(path.parent / each) for each in paths)


def read_csv(path: Path) -> list[str]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, delimiter=delimiter)
            check_columns(path, rows.fieldnames or [])
            named = [row for row in rows if row[COLUMN]]
            check_whole(path, any(row.get(name) for row in named for name in ENDS))
            return [row[COLUMN] for row in named]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table that can be read: {error}") from error


def read_parquet(path: Path) -> list[str]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise OSError(f"{path} needs `pip install 'ser[parquet]'`") from error
    try:
        file = parquet.ParquetFile(path)
    except ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    check_columns(path, file.schema_arrow.names)
    ends = [name for name in ENDS if name in file.schema_arrow.names]
    table = file.read(columns=[COLUMN, *ends])
    check_whole(path, any(table[name].null_count < len(table) for name in ends))
    paths = table[COLUMN].to_pylist()
    for row, each in enumerate(paths):
        if not isinstance(each, str | None):
            raise ValueError(f"{path}, row {row}: {COLUMN} is {each!r}, and no text")
    return [each for each in paths if each]


def check_columns(path: Path, columns: Iterable[str]) -> None:
    if COLUMN not in columns:
        names = ", ".join(columns) or "none"
        raise ValueError(f"{path} has no column {COLUMN!r}; its columns are {names}")


def check_whole(path: Path, parts: bool) -> None:
    if parts:
        raise ValueError(
            f"{path} names parts of recordings by start and end, and recordings are judged whole:"
            " cut them first, take the two columns out, or use --window for a timeline"
        )
