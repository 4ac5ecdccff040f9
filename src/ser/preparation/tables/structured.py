"""Tables as JSON, JSON Lines or Excel workbooks."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ser.errors import UserError, optional_dependency
from ser.preparation.tables.arrow import spell
from ser.preparation.tables.delimited import pick
from ser.preparation.tables.raw import RawTable, check_header, text_frame


def read_json(path: Path, text: str, notes: list[str]) -> RawTable:
    """Records, one per line or in a list, or the columns that `DataFrame.to_json` writes.

    Raises UserError, which names the row, for anything else.
    """
    numbered = read_whole(path, text) or read_lines(path, text)
    header: dict[str, None] = {}
    for number, record in numbered:
        if not isinstance(record, dict):
            raise UserError(f"{path}, row {number}: not an object such as {{'path': 'a.wav'}}")
        header |= dict.fromkeys(record)
    check_header(path, list(header))
    rows = [[spell_json(record.get(name)) for name in header] for _, record in numbered]
    frame = text_frame(list(header), rows, [number for number, _ in numbered])
    folder = path.absolute().parent
    return RawTable(path.stem, folder, list(header), partial(pick, frame), notes=notes)


def read_whole(path: Path, text: str) -> list[tuple[int, Any]]:
    """Numbered records of a file that is one JSON value; empty if it is not."""
    try:
        value = json.loads(text, object_pairs_hook=partial(as_record, path))
    except UserError:
        raise
    except ValueError:
        return []
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(v, dict | list) for v in value.values())
    ):
        try:
            value = pd.DataFrame(value).astype(object).to_dict("records")  # columns, by row label
        except ValueError as error:
            raise UserError(f"{path} holds columns of different lengths: {error}") from error
    records = value if isinstance(value, list) else [value]
    return list(enumerate(records, 1))


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
    except Exception as error:  # openpyxl has no common exception for damaged files
        raise UserError(f"{path} is not an Excel workbook (.xlsx): {error}") from error
    sheet = book.worksheets[0]
    rows = [[spell_json(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    book.close()  # a read-only workbook keeps its file open
    width = max(map(len, rows), default=0)
    padded = ([*row, *[""] * (width - len(row))] for row in rows)
    numbered = [(n, row) for n, row in enumerate(padded, 1) if any(map(str.strip, row))]
    header = [cell.strip() for cell in numbered[0][1]] if numbered else []
    check_header(path, header)
    others = [other.title for other in book.worksheets[1:]]
    notes = [f"has several sheets; only {sheet.title!r} was read"] if others else []
    frame = text_frame(header, [row for _, row in numbered[1:]], [n for n, _ in numbered[1:]])
    folder = path.absolute().parent
    return RawTable(path.stem, folder, header, partial(pick, frame), notes=notes)
