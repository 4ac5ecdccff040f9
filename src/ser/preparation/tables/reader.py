"""Reads a table of recordings, whatever its format: the same for training and for `ser predict`."""

import gzip
import io
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from ser.audio.sniff import SUFFIXES
from ser.corpora.emotions import LABELS, SYNONYMS
from ser.errors import UserError
from ser.preparation.tables import hub
from ser.preparation.tables.arrow import ArrowFile, find_files, read_arrow
from ser.preparation.tables.columns import TIMES, known_names, match_columns, seconds_per_unit
from ser.preparation.tables.delimited import decode_text, read_delimited
from ser.preparation.tables.kaldi import is_kaldi, read_kaldi
from ser.preparation.tables.names import is_hub_name
from ser.preparation.tables.raw import (
    Embedded,
    RawTable,
    lfs_pointer,
    reporting_damaged_table,
    show_columns,
)
from ser.preparation.tables.structured import EXAMPLE, read_excel, read_json
from ser.system.files import LFS_POINTER

log = logging.getLogger(__name__)
# The first bytes of files that are not text.
WORKBOOK, OLD_WORKBOOK, GZIP = b"PK\3\4", b"\xd0\xcf\x11\xe0", b"\x1f\x8b"
JSON = (".json", ".jsonl", ".ndjson")
MOST_BYTES = 2**30  # of a compressed table
PARQUET, ARROW_FILE, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class Table:
    """A table of recordings: the columns that were asked for and are there, by our names, as text.

    The index of `rows` holds row numbers as an editor shows them. `audio` are the recordings in
    the table itself; then the column path holds their file names, if any. Relative paths start at
    `folder`. `source` is the name that messages use.
    """

    source: str
    name: str
    folder: Path
    rows: pd.DataFrame
    audio: Embedded | None = None


def read_table(
    source: str | Path, wanted: tuple[str, ...], chosen: Mapping[str, str | None] | None = None
) -> Table:
    """The wanted columns of a table; `chosen` maps our names to the table's own.

    Raises UserError for a table that cannot be read. Guesses are logged.
    """
    chosen = chosen or {}
    with reporting_damaged_table(source):
        raw = open_table(source, chosen)
    found, guesses = match_columns(raw, chosen)
    for note in [*raw.notes, *([guesses] if guesses else [])]:
        log.warning("%s: %s", source, note)
    used = {name: header for name, header in found.items() if name in (*wanted, "duration")}
    recordings = found.get("path", "")
    audio = raw.audio.get(recordings)
    headers = [each for each in dict.fromkeys(used.values()) if not (audio and each == recordings)]
    with reporting_damaged_table(source):
        cells = raw.load(headers)
    if audio:  # whose bytes are read one by one
        cells[recordings] = ""
    guessed = [
        name
        for name, header in used.items()
        if name in TIMES and name not in chosen and header.strip().casefold() != name
    ]
    other = [name for name in guessed if not cells[used[name]].str.contains(r"\d").any()]
    if other:  # then the columns that were guessed with it are no times either
        unused = ", ".join(repr(used.pop(name)) for name in guessed)
        log.warning("%s: not every column holds times, so these are not used: %s", source, unused)
    rows = pd.DataFrame({name: cells[header] for name, header in used.items()}, index=cells.index)
    for name, header in used.items():
        if name in TIMES and (factor := seconds_per_unit(header)) != 1:
            rows[name] = rows[name].map(partial(scale_number, factor=factor))
    if "start" in used and not {"end", "duration"} & used.keys() and (rows["start"] != "").any():
        log.warning("%s: has no column for the end, so parts go to the end of their files", source)
    if "split" in wanted and "split" not in rows and raw.split is not None:
        rows["split"] = list(raw.split)
    check_columns(source, raw, rows, wanted)
    return Table(str(source), raw.name, raw.folder, rows, audio)


def scale_number(cell: str, factor: float) -> str:
    """A number times a factor; other text, such as 00:00:01.5, as it is."""
    number = cell.strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", number):  # thousands: such numbers are long
        number = number.replace(",", "")
    try:
        return format(float(number.replace(",", ".")) * factor, ".10g")
    except ValueError:
        return cell


def check_columns(
    source: str | Path, raw: RawTable, rows: pd.DataFrame, wanted: tuple[str, ...]
) -> None:
    """Raise UserError if the table has no rows, or no column of paths or emotions if wanted."""
    for name in ("path", "emotion"):
        if name in wanted and name not in rows:
            if files := [name for name in raw.header if names_file(name)]:
                raise UserError(f"{source} {explain_files(raw.header, files[0], source)}")
            raise UserError(
                f"{source} has no column {name!r}, only {show_columns(raw.header)}; name it with"
                f" 'data.columns={{{name}: COLUMN}}'"
            )
    if rows.empty:
        raise UserError(f"{source} has no rows")


def names_file(cell: str) -> bool:
    return any(Path(word).suffix.lower() in SUFFIXES for word in cell.split())


def explain_files(header: Sequence[str], file: str, source: str | Path) -> str:
    """What is wrong with a table whose names of columns are files."""
    if Path(source).suffix.lower() in JSON:
        return f"has files as keys, such as {file}: write a list such as {EXAMPLE}"
    words = {word.casefold() for word in (*LABELS, *SYNONYMS)}
    names = [
        "path" if names_file(cell) else "emotion" if cell.casefold() in words else f"column{number}"
        for number, cell in enumerate(header, 1)
    ]
    first, better = show_columns(header), ", ".join(names)
    return f"has no header: its first row is {first}; add a row before it, such as {better}"


def open_table(source: str | Path, chosen: Mapping[str, str | None]) -> RawTable:
    """The table in a file, a folder or a data set of the hub, recognised by content."""
    if is_hub_name(source):
        name = hub.parse(str(source))[0].partition("/")[2]
        folder = hub.download(str(source))
        return read_arrow(name, folder, find_files(folder))
    path = Path(source).expanduser()
    if path.is_dir():
        if is_kaldi(path):
            return read_kaldi(path)
        if files := find_files(path):
            return read_arrow(path.absolute().name, path.absolute(), files)
        raise UserError(f"{path} is a folder without a table: no Parquet files, no wav.scp")
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise UserError(f"{path} is a pipe or a device; save the table as a file")
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith((PARQUET, ARROW_STREAM)):
        return read_arrow(path.stem, path.absolute().parent, [ArrowFile(path)])
    if head.startswith(WORKBOOK):
        return read_excel(path)
    if head.startswith((OLD_WORKBOOK, ARROW_FILE)):
        raise UserError(f"{path} is an old Excel or Feather file; save it as .xlsx, CSV or Parquet")
    content = path.read_bytes()
    if content.startswith(GZIP):
        content = decompress(path, content)
    if content.startswith(LFS_POINTER):
        raise lfs_pointer(path)
    notes: list[str] = []
    text = decode_text(path, content, notes)
    if text.lstrip().startswith(("{", "[")) or path.suffix.lower() in JSON:
        return read_json(path, text, notes)
    return read_delimited(path, text, known_names(chosen), notes)


def decompress(path: Path, content: bytes) -> bytes:
    """Raises UserError for more than MOST_BYTES, which may be meant to fill the memory."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} holds more than {MOST_BYTES / 2**30:.0f} GiB; unpack it first")
    return content
