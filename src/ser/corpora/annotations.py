"""Reads the tables in which corpora publish labels and votes."""

import csv
from collections.abc import Iterable
from pathlib import Path

from ser.errors import UserError


def read_rows(file: Path, columns: Iterable[str]) -> dict[int, dict[str, str]]:
    """The rows of a CSV file by the number of their last line, and by column.

    Missing cells at the end of a row are "".

    Raises UserError if the file is not a table with all of these columns.
    """
    try:
        # Some published tables hold a few letters that are not UTF-8.
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
            table = csv.DictReader(lines, restval="")
            rows = {}
            for row in table:
                rows[table.line_num] = row
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file: {error}") from error
    missing = [name for name in columns if name not in (table.fieldnames or ())]
    if missing:
        raise UserError(
            f"{file}: the columns {', '.join(missing)} are missing; get the table again"
        )
    return rows
