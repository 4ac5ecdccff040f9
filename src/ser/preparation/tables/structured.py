"""Tables as JSON, JSON Lines or Excel workbooks."""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ser.errors import UserError, amount, optional_dependency
from ser.preparation.tables.arrow import spell
from ser.preparation.tables.columns import by_simple_name, guess
from ser.preparation.tables.delimited import pick
from ser.preparation.tables.raw import RawTable, check_header, text_frame

EXAMPLE = '[{"path": "a.wav", "emotion": "sad"}]'
MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s+ref="([A-Z]+\d+:[A-Z]+\d+)"')
LONGEST_TAG = 100  # bytes of a tag that MERGED finds
NESTED = {dict: "an object", list: "a list"}
KINDS = {**NESTED, str: "text", bool: "true or false", int: "a number", float: "a number"}


def read_json(path: Path, text: str, notes: list[str]) -> RawTable:
    """Records, one per line or in a list, or the columns that `DataFrame.to_json` writes.

    Raises UserError, which names the row, for anything else.
    """
    whole = read_whole(path, text, notes)
    numbered = read_lines(path, text) if whole is None else whole
    header: dict[str, None] = {}
    for number, record in numbered:
        if not isinstance(record, dict):
            kind = KINDS.get(type(record), "nothing")
            raise UserError(
                f"{path}, row {number}, is {kind}: write a list of objects, such as {EXAMPLE}, or"
                " one object per line"
            )
        header |= dict.fromkeys(record)
    if not header:
        raise UserError(f"{path} has no rows: write objects into it, such as {EXAMPLE}")
    check_header(path, list(header))
    rows = [[spell_json(record.get(name)) for name in header] for _, record in numbered]
    frame = text_frame(list(header), rows, [number for number, _ in numbered])
    folder = path.absolute().parent

    def load(names: Sequence[str]) -> pd.DataFrame:
        check_flat(path, numbered, names)
        return pick(frame, names)

    return RawTable(path.stem, folder, list(header), load, notes=notes)


def check_flat(path: Path, numbered: list[tuple[int, Any]], names: Sequence[str]) -> None:
    """Raise UserError if one of these columns has values with values in them."""
    for number, record in numbered:
        for name in names:
            if kind := NESTED.get(type(record.get(name))):
                raise UserError(
                    f"{path}, row {number}: {name!r} is {kind}; write text or a number, as in"
                    f" {EXAMPLE}, or choose another column with data.columns"
                )


def read_whole(path: Path, text: str, notes: list[str]) -> list[tuple[int, Any]] | None:
    """Numbered records of a file that is one JSON value; None if it has one on each line."""
    try:
        value = json.loads(text, object_pairs_hook=partial(as_record, path))
    except UserError:
        raise
    except json.JSONDecodeError as error:
        if is_json(text.lstrip().partition("\n")[0]):
            return None
        raise UserError(
            f"{path} is not valid JSON in line {error.lineno}, column {error.colno} ({error.msg}):"
            f" it may be cut off; write a list such as {EXAMPLE}, or one object per line without"
            " commas between them"
        ) from error
    if isinstance(value, dict) and not guess("path", by_simple_name(value)):
        value = find_records(path, value, notes)
    elif isinstance(value, dict) and all(isinstance(v, dict | list) for v in value.values()):
        value = read_columns(path, value)
    records = value if isinstance(value, list) else [value]
    return list(enumerate(records, 1))


def find_records(path: Path, value: dict[str, Any], notes: list[str]) -> Any:
    """The only list of objects in an object, or its columns, or the object itself."""
    inner = [
        name
        for name, other in value.items()
        if isinstance(other, list) and other and all(isinstance(each, dict) for each in other)
    ]
    if len(inner) == 1:
        notes.append(f"its rows are read from {inner[0]!r}")
        return value[inner[0]]
    if value and all(isinstance(each, dict | list) for each in value.values()):
        return read_columns(path, value)
    return value


def read_columns(path: Path, columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of columns by row label; raises UserError if they have different lengths."""
    try:
        frame = pd.DataFrame(columns).astype(object)
    except ValueError as error:
        raise UserError(
            f"{path} is neither a list of objects nor columns of one length ({error}): write a list"
            f" such as {EXAMPLE}"
        ) from error
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def read_lines(path: Path, text: str) -> list[tuple[int, Any]]:
    """Numbered records of JSON Lines; raises UserError for a line that is not JSON."""
    records = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((number, json.loads(line, object_pairs_hook=partial(as_record, path))))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path}, row {number}, is not valid JSON: {error}") from error
    return records


def as_record(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; raises UserError if a key occurs twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}: an object holds {twice!r} twice; remove one")
    return record


def spell_json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else spell(value)


def read_excel(path: Path) -> RawTable:
    """The first sheet of an .xlsx workbook; its first row that is not blank is the header.

    Raises UserError if the file is not a workbook.
    """
    with optional_dependency("excel"):
        import openpyxl
    try:
        content = io.BytesIO(path.read_bytes())  # given a path, openpyxl insists on its suffix
        book = openpyxl.load_workbook(content, read_only=True, data_only=True)
        merged = find_merged_cells(content, book.worksheets[0])
    except Exception as error:  # openpyxl has no common exception for damaged files
        raise UserError(f"{path} is not an Excel workbook (.xlsx): {error}") from error
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # other programs may store a range that is too small
    rows = [[spell_json(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    book.close()  # a read-only workbook keeps its file open
    width = max(map(len, rows), default=0)
    padded = ([*row, *[""] * (width - len(row))] for row in rows)
    numbered = [(n, row) for n, row in enumerate(padded, 1) if any(map(str.strip, row))]
    notes = fill_merged_cells(merged, numbered)
    header = [cell.strip() for cell in numbered[0][1]] if numbered else []
    check_header(path, header)
    others = [other.title for other in book.worksheets[1:]]
    notes += [f"has several sheets; only {sheet.title!r} was read"] if others else []
    frame = text_frame(header, [row for _, row in numbered[1:]], [n for n, _ in numbered[1:]])
    folder = path.absolute().parent
    return RawTable(path.stem, folder, header, partial(pick, frame), notes=notes)


def find_merged_cells(workbook: io.BytesIO, sheet: Any) -> set[str]:
    """Ranges such as B2:B4 whose cells are merged, which openpyxl leaves out in read-only mode.

    The other mode creates each cell of a range, and so never ends for one of a whole sheet. The
    sheet is read block by block, because it may be a bomb.
    """
    found, end = set(), b""
    with zipfile.ZipFile(workbook) as archive, archive.open(sheet._worksheet_path) as file:
        while block := file.read(2**20):
            found.update(word.decode() for word in MERGED.findall(end + block))
            end = block[-LONGEST_TAG:]
    return found


def fill_merged_cells(ranges: Iterable[str], numbered: list[tuple[int, list[str]]]) -> list[str]:
    """Give cells that are merged below one another the value of the first; notes on it.

    `numbered` are the rows that are not blank, with their numbers. The first one is the header and
    is left as it is.
    """
    from openpyxl.utils.cell import range_boundaries

    rows, filled = dict(numbered[1:]), 0
    last = max(rows, default=0)
    bounds: Any = map(range_boundaries, ranges)  # both ends are there
    for column, top, _, bottom in bounds:
        if top in rows and top < bottom and column <= len(rows[top]):
            filled += 1
            for number in range(top + 1, min(bottom, last) + 1):
                if number in rows:
                    rows[number][column - 1] = rows[top][column - 1]
    return [f"{amount(filled, 'merged cell')} filled from the first row of each"] if filled else []
