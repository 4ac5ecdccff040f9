"""Validation recordings of a run, for examples and for comparing exported models."""

import csv
from pathlib import Path


def validation_rows(run: Path) -> list[dict[str, str]]:
    """Rows of the manifest of a run: whole validation recordings that still exist.

    Empty if the folder or its manifest does not exist or cannot be read.
    """
    try:
        with (run / "manifest.csv").open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if is_usable(row)]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def is_usable(row: dict[str, str]) -> bool:
    """Whether a row of a manifest is a whole validation recording that exists."""
    part = row.get("start") or row.get("end")
    return row.get("split") == "val" and not part and Path(row.get("path") or "/").is_file()
