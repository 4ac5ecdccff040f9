"""Predictions written one by one: as a table, JSON, JSON lines, CSV, Parquet or timelines."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TextIO

from rich.console import Console

from ser.errors import UserError, optional_dependency
from ser.inference.prediction import Failure, Prediction, describe_source, most_probable
from ser.inference.settings import Format
from ser.inference.terminal import TableWriter
from ser.inference.timelines import TIMELINES, TimelineWriter, open_timelines
from ser.system.atomic import replacing_path
from ser.system.files import printable
from ser.system.progress import progress_bar
from ser.system.spreadsheet import escape_cell

Result = Prediction | Failure
ROWS = 1000  # rows of a row group of Parquet
TAILS = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
TAILS |= {timeline.suffix.lower(): kind.value for kind, timeline in TIMELINES.items()}


class Writer(Protocol):
    """Accepts results one by one; `close` completes the output."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


def choose_format(asked: Format | None, output: Path | None) -> Format:
    """The format asked for, else that of the suffix of the output.

    Without both it is a table on a terminal and JSON elsewhere. Raises UserError for a format that
    the output cannot have.
    """
    if asked is None and output is not None:
        suffix = output.suffix.lower()
        if suffix not in TAILS:
            known = ", ".join(TAILS)
            raise UserError(f"--output={output}: use one of the suffixes {known}, or add --format")
        return Format(TAILS[suffix])
    chosen = asked or (Format.table if sys.stdout.isatty() else Format.json)
    if chosen == Format.parquet and output is None:
        raise UserError("--format=parquet needs a file: --output=FILE")
    if chosen == Format.table and output is not None:
        raise UserError("--format=table is for the terminal: choose another format for --output")
    return chosen


@contextmanager
def open_writer(
    kind: Format,
    output: Path | None,
    labels: Sequence[str],
    top_k: int | None,
    *,
    channels: bool = False,
    adapts: bool = False,
) -> Iterator[Writer]:
    """The writer of a format; a file appears under its name when it is complete.

    With `channels`, tables have a column for the channel; with `adapts`, columns for the speaker
    that a prediction is adapted to, and for the number of clips.
    """
    if output is not None and kind in TIMELINES:
        writer = open_timelines(TIMELINES[kind], output.resolve())
        yield writer
        writer.close()
        return
    rows = Rows(labels, top_k, channels=channels, adapts=adapts)
    if output is None:
        writer = make_writer(kind, sys.stdout, rows)
        yield writer
        writer.close()
        return
    output = output.resolve()  # a link stays, and the file behind it is replaced
    if output.is_dir():
        raise UserError(f"--output={output} is a folder: name a file in it")
    output.parent.mkdir(parents=True, exist_ok=True)
    # Pipes and devices are written to, not replaced by a file.
    plain = output.is_file() or not output.exists()
    with replacing_path(output) if plain else nullcontext(output) as temporary:
        if kind == Format.parquet:
            with temporary.open("wb") as file:  # pyarrow refuses names that are not UTF-8
                writer = ParquetWriter(file, rows)
                yield writer
                writer.close()
        else:
            with temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = make_writer(kind, stream, rows)
                yield writer
                writer.close()


def make_writer(kind: Format, stream: TextIO, rows: "Rows") -> Writer:
    if kind in TIMELINES:
        return TimelineWriter(TIMELINES[kind], stream)
    if kind == Format.csv:
        return CsvWriter(stream, rows)
    if kind == Format.table:
        return TableWriter(Console(file=stream), rows.top_k or 3)
    return JsonWriter(stream, rows.top_k, lines=kind == Format.jsonl)


def as_plain(result: Result, top_k: int | None) -> dict[str, Any]:
    """Plain values for JSON, with the `top_k` most probable emotions, also of each window."""
    plain = result.as_plain()
    if isinstance(result, Prediction):
        for part in [plain, *plain.get("windows", [])]:
            part["probabilities"] = most_probable(part["probabilities"], top_k)
        for segment in plain.get("segments", []):
            segment["probability"] = round(segment["probability"], 6)
    return plain


class JsonWriter:
    """A JSON list, or one JSON object per line."""

    def __init__(self, stream: TextIO, top_k: int | None, *, lines: bool) -> None:
        self.stream, self.top_k, self.lines = stream, top_k, lines
        # On a terminal without UTF-8, escapes lose nothing.
        self.ascii = not (stream.encoding or "utf-8").lower().startswith("utf")
        self.written = 0

    def write(self, result: Result) -> None:
        plain = as_plain(result, self.top_k)
        before = "" if self.lines else ",\n" if self.written else "[\n"
        after = "\n" if self.lines else ""
        self.stream.write(before + json.dumps(plain, ensure_ascii=self.ascii) + after)
        self.stream.flush()
        self.written += 1

    def close(self) -> None:
        if not self.lines:
            self.stream.write("\n]\n" if self.written else "[]\n")
        self.stream.flush()


class Rows:
    """One flat row per recording; probabilities outside the `top_k` are missing."""

    def __init__(
        self,
        labels: Sequence[str],
        top_k: int | None,
        *,
        channels: bool = False,
        adapts: bool = False,
    ) -> None:
        self.labels, self.top_k, self.adapts = labels, top_k, adapts
        self.key = ["path", "channel"] if channels else ["path"]

    @property
    def columns(self) -> list[str]:
        adapted = ["adapted_to", "adapted_clips"] if self.adapts else []
        probabilities = [f"p_{label}" for label in self.labels]
        return [*self.key, "emotion", "seconds", *probabilities, *adapted, "warnings", "error"]

    def row(self, result: Result) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row |= {name: getattr(result, name) for name in self.key}
        if isinstance(result, Failure):
            return row | {"error": result.error}
        shown = most_probable(result.probabilities, self.top_k)
        row |= {"emotion": result.emotion, "seconds": round(result.seconds, 3)}
        if self.adapts and result.adapted_to is not None:
            adapted = result.adapted_to
            row |= {"adapted_to": adapted.speaker, "adapted_clips": adapted.clips}
        if result.warnings:
            row["warnings"] = "; ".join(result.warnings)
        return row | {f"p_{label}": value for label, value in shown.items()}


class CsvWriter:
    """The rows as CSV, with text that a spreadsheet would run as a formula escaped."""

    def __init__(self, stream: TextIO, rows: Rows) -> None:
        self.stream, self.rows = stream, rows
        self.writer = csv.DictWriter(stream, self.rows.columns, lineterminator="\n")
        self.writer.writeheader()

    def write(self, result: Result) -> None:
        row = self.rows.row(result)
        self.writer.writerow(
            {k: escape_cell(v) if isinstance(v, str) else v for k, v in row.items()}
        )
        self.stream.flush()

    def close(self) -> None:
        self.stream.flush()


class ParquetWriter:
    """The rows as Parquet, in row groups, with the segments of windowed predictions."""

    def __init__(self, file: BinaryIO, rows: Rows) -> None:
        with optional_dependency("parquet"):
            import pyarrow
            from pyarrow import parquet
        self.rows, self.held = rows, []
        text, number = pyarrow.string(), pyarrow.float64()
        kinds = dict.fromkeys(self.rows.columns, number)
        kinds |= dict.fromkeys(
            {"path", "emotion", "adapted_to", "warnings", "error"} & set(self.rows.columns), text
        )
        kinds |= {"channel": pyarrow.int64()} if "channel" in kinds else {}
        segment = {"start": number, "end": number, "emotion": text, "probability": number}
        kinds["segments"] = pyarrow.list_(pyarrow.struct(segment))
        self.schema, self.table = pyarrow.schema(kinds), pyarrow.Table
        self.writer = parquet.ParquetWriter(file, self.schema)

    def write(self, result: Result) -> None:
        segments = as_plain(result, None).get("segments")
        self.held.append(self.rows.row(result) | {"segments": segments})
        if len(self.held) == ROWS:
            self.flush()

    def flush(self) -> None:
        if self.held:
            self.writer.write_table(self.table.from_pylist(self.held, schema=self.schema))
        self.held = []

    def close(self) -> None:
        self.flush()
        self.writer.close()


def make_printable(result: Result) -> Result:
    """The result with a path that can be encoded, whatever bytes the name of the file has."""
    path = None if result.path is None else printable(result.path)
    if isinstance(result, Failure):
        return replace(result, path=path, error=printable(result.error))
    return replace(result, path=path)


class Written(NamedTuple):
    """The number of recordings or channels, and how many of them failed."""

    recordings: int
    failed: int


def write_all(
    results: Iterable[Result], writer: Writer, total: int | None, *, bar: bool = True
) -> Written:
    """Write results one by one, and count them.

    With `bar`, standard error shows the progress on a terminal. It also names the failures, with
    `bar` or if the writer leaves them out.
    """
    console, failed = Console(stderr=True), 0
    hidden = not (bar and console.is_terminal)
    with progress_bar(console=console, disable=hidden) as progress:
        task = progress.add_task("Predicting", total=total)
        for result in map(make_printable, results):
            if isinstance(result, Failure):
                failed += 1
                if bar or isinstance(writer, TimelineWriter):
                    source = describe_source(result)
                    print(f"failed: {source}: {result.error}", file=sys.stderr, flush=True)
            writer.write(result)
            progress.advance(task)
        recordings = int(progress.tasks[task].completed)
        if not recordings:
            print("no recording found", file=sys.stderr)
    return Written(recordings, failed)
