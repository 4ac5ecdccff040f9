"""Tables as text: CSV, TSV and other delimiters, as Excel, R and pandas write them.

Encoding and separator are recognised by content. Every physical line is accounted for: an unmatched
quote, which would swallow the lines after it, is an error that names its row.
"""

import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from charset_normalizer import from_bytes

from ser.audio.sniff import SUFFIXES
from ser.errors import UserError, amount
from ser.preparation.tables.raw import RawTable, check_header, simplify, text_frame

SEPARATORS = (",", ";", "\t", "|", " ")
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes", " ": "spaces"}
MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xef\xbb\xbf": "utf-8-sig",
         b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # fmt: skip
ENCODINGS = ["cp1252", "cp1251", "gb18030", "big5", "cp932", "cp949"]  # of Excel, by language
LONGEST_CELL = 2**20  # characters
PADDING = b"\0\x1a"  # what old programs leave at the end


@dataclass
class Rows:
    """The cells of each row, and the number of the line on which it begins, counted from 1."""

    cells: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def without_blank(self) -> "Rows":
        kept = [n for n, cells in enumerate(self.cells) if any(map(str.strip, cells))]
        if len(kept) == len(self.cells):
            return self
        return Rows([self.cells[n] for n in kept], [self.lines[n] for n in kept])


def read_delimited(path: Path, text: str, known: Collection[str], notes: list[str]) -> RawTable:
    """A table from text; `known` are simplified column names, by which the separator is found.

    Raises UserError, which names the row, for quotes, widths and headers that do not match.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = list(io.StringIO(text, newline=""))
    skip = next((n for n, line in enumerate(lines) if line.strip()), 0)
    skip = skip_comments(lines, skip, known, notes)
    if skip < len(lines) and (declared := re.fullmatch(r"sep=(.)\s*", lines[skip])):  # Excel's
        separator, skip = declared[1], skip + 1
    else:
        separator = find_separator(lines[skip] if skip < len(lines) else "", known)
    rows = read_rows(path, lines, separator, skip, notes).without_blank()
    header = [cell.strip() for cell in rows.cells[0]] if rows.cells else []
    check_header(path, header)
    refuse_repeated(path, header, rows)
    header, rows = fit(path, header, Rows(rows.cells[1:], rows.lines[1:]), separator, notes)
    frame = text_frame(header, rows.cells, rows.lines)
    folder = path.absolute().parent
    return RawTable(path.stem, folder, header, partial(pick, frame), notes=notes)


def skip_comments(lines: list[str], skip: int, known: Collection[str], notes: list[str]) -> int:
    """The index of the first line behind lines that begin with # and name no column."""
    first = skip
    while skip < len(lines) and lines[skip].startswith("#"):
        if any(simplify(cell) in known for cell in re.split(r"[,;\t| ]", lines[skip])):
            break
        skip += 1
    if skip > first:
        notes.append(f"begins with {amount(skip - first, 'comment line')}, which are left out")
    return skip


def refuse_repeated(path: Path, header: list[str], rows: Rows) -> None:
    """Raise UserError for a row that repeats the header, as in joined files."""
    for line, cells in zip(rows.lines[1:], rows.cells[1:], strict=True):
        if len(cells) > 1 and [cell.strip() for cell in cells] == header:
            raise UserError(f"{path}, row {line} repeats the header; remove it")


def pick(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return frame[list(names)]


def decode_text(path: Path, content: bytes, notes: list[str]) -> str:
    """The text of a file; a note says which encoding was used if it is not Unicode."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    encoding = encoding or guess_utf16(content[:4096])
    if encoding is None:
        content = content.rstrip(PADDING)
        if b"\0" in content:
            row = content.count(b"\n", 0, content.index(b"\0")) + 1
            raise UserError(
                f"{path}, row {row}: holds a NUL byte, so it is not text; save it as CSV, Excel or"
                " Parquet"
            )
    try:
        return content.decode(encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise UserError(f"{path} cannot be read as {encoding}: {error}") from error
    lines = dict.fromkeys(line for line in content.splitlines() if not line.isascii())
    best = from_bytes(b"\n".join(lines), cp_isolation=ENCODINGS).best()
    encoding = best.encoding if best is not None else "cp1252"
    notes.append(f"is not UTF-8 and was read as {encoding}; save it as UTF-8 if letters look wrong")
    return content.decode(encoding, errors="replace")


def guess_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark, in which many bytes are 0, but either the first or second of pairs."""
    first, second = head[::2].count(0), head[1::2].count(0)
    few, many = sorted((first, second))
    if 20 * many < len(head) or 10 * few > many:
        return None
    return "utf-16-le" if second > first else "utf-16-be"


def find_separator(line: str, known: Collection[str]) -> str:
    """The separator that gives the most known column names, then the most columns."""

    def rank(separator: str) -> tuple[int, bool, int]:
        cells = next(
            csv.reader([line[:LONGEST_CELL]], delimiter=separator, skipinitialspace=True), []
        )
        named = sum(simplify(cell) in known for cell in cells)
        return named, separator != " ", len(cells)

    return max(SEPARATORS, key=rank)


def read_rows(path: Path, lines: list[str], separator: str, skip: int, notes: list[str]) -> Rows:
    """The rows of a table. Quotes are read literally if the file was written without quoting."""
    try:
        return parse_quoted(lines, separator, skip)
    except QuoteError as error:
        problem = str(error)
    numbered = [
        (number, line) for number, line in enumerate(lines[skip:], skip + 1) if line.strip()
    ]
    literal = [line.rstrip("\r\n").split(separator) for _, line in numbered]
    widths = set(map(len, literal))
    quoted = any(re.fullmatch(r'\s*".*"\s*', cell) for cells in literal for cell in cells)
    if len(widths) == 1 and widths != {1} and not quoted:
        notes.append("has unmatched quotes, which were read as part of the text")
        return Rows(literal, [number for number, _ in numbered])
    raise UserError(f'{path}, {problem}; close the quote, or write "" for a quote inside a cell')


class QuoteError(ValueError):
    """A quote that does not follow the rules of CSV."""


def parse_quoted(lines: list[str], separator: str, skip: int) -> Rows:
    """The rows by the rules of CSV; raises QuoteError with the row that breaks them."""
    reader = csv.reader(iter(lines[skip:]), delimiter=separator, strict=True, skipinitialspace=True)
    rows, first, width = Rows(), skip + 1, 0
    try:
        for cells in reader:
            last = skip + reader.line_num
            width = width or len(cells)
            if last > first and holds_rows(lines[first:last], separator, width):
                raise QuoteError(f"rows {first} to {last}: read as one row because of a quote")
            rows.cells.append(cells)
            rows.lines.append(first)
            first = last + 1
    except csv.Error as error:
        raise QuoteError(f"row {first}: a quote is not closed ({error})") from error
    return rows


def holds_rows(lines: list[str], separator: str, width: int) -> bool:
    """Whether the further lines of a row are rows themselves, which a quote has swallowed.

    A cell may hold line breaks. But if each further line has as many cells as the header, or a
    wide one names a recording before any quote, it is a row, and the quote before is not closed.
    """
    wide = [line for line in lines if line.count(separator) + 1 >= width]
    inside = (line.partition('"')[0] for line in wide)  # after a quote, the cell may have ended
    cells = (cell.strip() for text in inside for cell in text.split(separator))
    return len(wide) == len(lines) or any(Path(cell).suffix.lower() in SUFFIXES for cell in cells)


def fit(
    path: Path, header: list[str], rows: Rows, separator: str, notes: list[str]
) -> tuple[list[str], Rows]:
    """The header and the rows in one width; only empty cells are added or removed."""
    width, widths = len(header), set(map(len, rows.cells))
    if widths == {width + 1} and has_row_numbers(rows.cells):
        notes.append("has no name for its first column, which was taken for row numbers")
        return ["", *header], rows
    if widths <= {width}:
        return header, rows
    longer = [n for n, cells in enumerate(rows.cells) if len(cells) > width]
    for n in longer:
        if any(map(str.strip, rows.cells[n][width:])):
            raise UserError(
                f"{path}, row {rows.lines[n]}: {amount(len(rows.cells[n]), 'cell')}, but the header"
                f" has {width}; quote cells that contain {NAMES.get(separator, separator)}"
            )
    if longer:
        notes.append(f"has {amount(len(longer), 'row')} that end with an extra separator; ignored")
    shorter = [n for n, cells in enumerate(rows.cells) if len(cells) < width]
    if shorter:
        notes.append(
            f"has {amount(len(shorter), 'row')} shorter than the header, the first is row"
            f" {rows.lines[shorter[0]]}; the missing cells count as empty"
        )
    cells = [[*cells[:width], *[""] * (width - len(cells))] for cells in rows.cells]
    return header, Rows(cells, rows.lines)


def has_row_numbers(rows: list[list[str]]) -> bool:
    """Whether each row begins with a number of its own, as R and pandas write them."""
    numbers = {cells[0] for cells in rows}
    return len(numbers) == len(rows) and all(each.isdecimal() for each in numbers)
