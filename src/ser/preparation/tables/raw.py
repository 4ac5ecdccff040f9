"""What a reader returns: the header and the cells of a table, as text, before any meaning."""

import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ser.errors import UserError
from ser.system.files import reporting_damage

# How tables spell a missing value; compared in lower case.
MISSING = frozenset(
    ("", "na", "n/a", "n.a.", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "1.#qnan", "nat",
     "none", "null", "(null)", "<null>", "#null!", "\\n", "nil", "-", "--", "?")
)  # fmt: skip
# Around the text of a cell, with letters that are not shown, such as a mark of the byte order.
SPACE = string.whitespace + "\xa0\u3000\ufeff\u200b\u200e\u200f\u2060"
SHOWN, LONGEST = 20, 40  # columns in a message, and characters of each


@dataclass(frozen=True)
class Embedded:
    """Recordings inside a table: for each row its bytes, or None, and its file name, or ""."""

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Iterator[tuple[bytes | None, str]]]


@dataclass(frozen=True)
class RawTable:
    """The header of a table and a function that loads columns.

    `load` takes header names and returns their cells as text, "" if missing; the index holds the
    number of each row as an editor shows it. `audio` holds the columns with recordings in them.
    `split` is the part of each row if the files of the table are named after the parts. `notes` are
    messages for the user. Relative paths start at `folder`.
    """

    name: str
    folder: Path
    header: list[str]
    load: Callable[[Sequence[str]], pd.DataFrame]
    audio: Mapping[str, Embedded] = field(default_factory=dict)
    split: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list)


def reporting_damaged_table(source: object) -> AbstractContextManager[None]:
    """Raise UserError if a library cannot read the table."""
    return reporting_damage(
        f"{source} cannot be read as a table",
        "it may be damaged: copy, download or save it again",
    )


def lfs_pointer(path: Path) -> UserError:
    return UserError(f"{path} is a Git LFS pointer; fetch the table with `git lfs pull`")


def show_columns(header: Sequence[str]) -> str:
    """The names of the columns for a message."""
    names = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in header if name]
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more or "none"


def simplify(name: str) -> str:
    """A column name without case, spaces and punctuation, so that `File Name` is `filename`."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in folded if letter.isalnum())


def check_header(source: object, header: Sequence[str]) -> None:
    """Raise UserError if two columns have the same name, apart from case."""
    seen: dict[str, str] = {}
    for name in header:
        key = name.strip().casefold()
        if key and key in seen:
            raise UserError(
                f"{source} has two columns of the same name, {seen[key]!r} and {name!r}; rename or"
                " remove one"
            )
        seen[key] = name


def text_frame(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]
) -> pd.DataFrame:
    """Cells as text, with the numbers of their rows as index. Unnamed columns are left out."""
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    named = {name: columns.get(name, ()) for name in header if name}
    return pd.DataFrame(named, index=pd.Index(list(numbers), dtype=int), dtype="str")


def is_missing(column: pd.Series) -> pd.Series:
    """Which cells of a text column are a spelling of a missing value."""
    known = {cell: cell.strip(SPACE).casefold() in MISSING for cell in column.unique()}
    return column.map(known).astype(bool)


def clean(column: pd.Series) -> pd.Series:
    """A text column without surrounding space, "" for every spelling of a missing value."""
    known = {
        cell: ""
        if cell.strip(SPACE).casefold() in MISSING
        else unicodedata.normalize("NFC", cell.strip(SPACE))
        for cell in column.unique()
    }
    return column.map(known).astype("str")
