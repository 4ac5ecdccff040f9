"""Which names stand for a table. Nothing is read, and pandas is not imported."""

from pathlib import Path

from ser.config.data import HUB
from ser.config.split import Part
from ser.system.files import is_folder

SUFFIXES = frozenset(
    (".csv", ".tsv", ".tab", ".gz", ".parquet", ".arrow", ".json", ".jsonl", ".ndjson",
     ".xlsx", ".xlsm", ".xls", ".ods")
)  # fmt: skip
# Words for the parts of a split, in columns and in names of files.
PART_WORDS = {"train": Part.train, "training": Part.train, "val": Part.val, "valid": Part.val,
              "validation": Part.val, "dev": Part.val, "development": Part.val,
              "test": Part.test, "testing": Part.test, "eval": Part.test,
              "evaluation": Part.test}  # fmt: skip
# Files that make a folder a table: of Kaldi, and of `datasets`.
MARKERS = ("wav.scp", "dataset_dict.json", "state.json")


def is_hub_name(source: str | Path) -> bool:
    return str(source).startswith(HUB)


def is_table(name: str) -> bool:
    """Whether a name stands for a table rather than for a recording or a folder of recordings."""
    path = Path(name)
    if is_folder(path):
        return any((path / marker).is_file() for marker in MARKERS)
    return is_hub_name(name) or path.suffix.lower() in SUFFIXES
