"""Tables as Parquet or Arrow files: of pandas, of the hub, and data sets saved to disk.

The `datasets` library is not needed. Recordings inside a table stay bytes until our decoder reads
them.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ser.errors import UserError, optional_dependency
from ser.preparation.tables.names import PART_WORDS
from ser.preparation.tables.raw import (
    Embedded,
    RawTable,
    check_header,
    lfs_pointer,
    reporting_damaged_table,
)
from ser.system.files import is_lfs_pointer, read_object

PARTS = re.compile(rf"({'|'.join(PART_WORDS)})([-_.]|$)", re.I)
NO_LABEL = -1  # of a ClassLabel
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # of Arrow; each batch begins with its first half


@dataclass(frozen=True)
class ArrowFile:
    """One file of a table and the part that it is named after, or ""."""

    path: Path
    split: str = ""

    def schema(self) -> Any:
        """The Arrow schema, which holds the names and types of the columns."""
        with opened(self.path) as reader:
            return reader.schema_arrow if hasattr(reader, "schema_arrow") else reader.schema

    def rows(self) -> int:
        with opened(self.path) as reader:
            if hasattr(reader, "metadata"):
                return reader.metadata.num_rows
            return sum(batch.num_rows for batch in reader)

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of these columns; at most a row group is held in memory."""
        with opened(self.path) as reader:
            if hasattr(reader, "iter_batches"):
                yield from reader.iter_batches(batch_size=1024, columns=list(columns))
                return
            for batch in reader:
                yield batch.select(list(columns))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A reader of a Parquet file or of an Arrow stream.

    Raises UserError, also while the block reads, if the file is damaged or missing.
    """
    with optional_dependency("parquet"):
        import pyarrow as pa
        from pyarrow import parquet
    if is_lfs_pointer(path):
        raise lfs_pointer(path)
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-min(8, path.stat().st_size), io.SEEK_END)
            end = file.read()
        is_parquet = head == b"PAR1"
        if head == END_OF_STREAM[:4] and end != END_OF_STREAM:
            raise UserError(f"{path} is cut off: its last bytes do not end an Arrow stream")
        if is_parquet:
            with parquet.ParquetFile(path) as reader:
                yield reader
        else:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                yield reader
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as a Parquet or Arrow file: {error}") from error


def read_arrow(name: str, folder: Path, files: Sequence[ArrowFile]) -> RawTable:
    """One table from one or more files; raises UserError if their columns differ."""
    schemas = [file.schema() for file in files]
    header = list(schemas[0].names)
    for file, schema in zip(files, schemas, strict=True):
        if schema.names != header:
            raise UserError(f"{file.path} and {files[0].path} have different columns")
    check_header(files[0].path, header)
    audio = {field.name for field in schemas[0] if holds_bytes(field.type)}
    classes = [read_classes(schema) for schema in schemas]  # files may number them differently
    named = all(file.split for file in files)
    return RawTable(
        name=name,
        folder=folder,
        header=header,
        load=partial(load, files, classes),
        audio={
            column: Embedded(name, tuple(file.path for file in files),
                             partial(read_audio, files, column))
            for column in header if column in audio
        },
        split=[file.split for file in files for _ in range(file.rows())] if named else None,
    )  # fmt: skip


def holds_bytes(kind: Any) -> bool:
    """Whether a column holds recordings: bytes, or the hub's pair of bytes and path."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and holds_bytes(kind.field(place).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def read_classes(schema: Any) -> dict[str, list[str]]:
    """The names of the classes of each integer column, as `datasets` writes them."""
    stored = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(stored)["info"]["features"] if stored else {}
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def load(
    files: Sequence[ArrowFile], classes: Sequence[dict[str, list[str]]], columns: Sequence[str]
) -> pd.DataFrame:
    """Columns as text, with the classes of each file; rows are counted from 1."""
    cells: dict[str, list[str]] = {name: [] for name in columns}
    rows = 0
    for file, known in zip(files, classes, strict=True):
        for batch in file.batches(columns):
            rows += batch.num_rows
            for name in columns:
                cells[name] += as_text(batch.column(name), known.get(name))
    return pd.DataFrame(cells, index=pd.RangeIndex(1, rows + 1), dtype="str")


def as_text(column: Any, classes: list[str] | None) -> list[str]:
    """The cells of a column as text; times in seconds, missing cells as ""."""
    import pyarrow as pa

    if pa.types.is_struct(column.type):
        names = [name for name in ("path", "file") if column.type.get_field_index(name) >= 0]
        return as_text(column.field(names[0]), None) if names else [""] * len(column)
    values = column.to_pylist()
    if classes is not None:
        known = dict(enumerate(classes)) | {None: "", NO_LABEL: ""}
        return [known.get(value, str(value)) for value in values]
    if pa.types.is_duration(column.type):
        return [
            "" if value is None else repr(pd.Timedelta(value).total_seconds()) for value in values
        ]
    return [spell(value) for value in values]


def spell(value: Any) -> str:
    """A value as a table of text would spell it: whole numbers without a decimal point."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def read_audio(files: Sequence[ArrowFile], column: str) -> Iterator[tuple[bytes | None, str]]:
    """The content of each recording in a column, or None, and its path, or ""; see `Embedded`."""
    for file in files:
        with reporting_damaged_table(file.path):
            for batch in file.batches([column]):
                for value in batch.column(column).to_pylist():
                    if isinstance(value, dict):
                        yield value["bytes"], value.get("path") or ""
                    else:
                        yield value, ""


def find_files(folder: Path) -> list[ArrowFile]:
    """The files of a data set in a folder: saved to disk, or Parquet as on the hub.

    Raises UserError if the list of files is damaged.
    """
    if splits := read_list(folder / "dataset_dict.json", "splits"):
        return [ArrowFile(file.path, name) for name in splits for file in find_files(folder / name)]
    if read_list(folder / "state.json", "_indices_data_files"):
        raise UserError(
            f"{folder} is a selection of rows; call flatten_indices() before save_to_disk()"
        )
    if listed := read_list(folder / "state.json", "_data_files"):
        return [ArrowFile(folder / file["filename"]) for file in listed]
    found = sorted(folder.rglob("*.parquet"))
    return [ArrowFile(path, find_split(path.relative_to(folder))) for path in found]


def read_list(file: Path, key: str) -> list[Any]:
    """A list in a JSON file; empty if the file or the key is missing, or its value is null."""
    return read_object(file).get(key) or [] if file.is_file() else []


def find_split(path: Path) -> str:
    """The part in the name of a file or of a folder above it, the nearest first."""
    for name in reversed(path.parts):
        if match := PARTS.match(name):
            return match[1].lower()
    return ""
