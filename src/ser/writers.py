"""Predictions as they come, as a table, JSON, JSON lines, CSV or Parquet."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ser.atomic import replacing_path
from ser.files import printable
from ser.prediction import Failure, Prediction, Segment
from ser.progress import progress_bar

Result = Prediction | Failure
ROWS = 1000  # of a row group of Parquet
TAILS = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


class Format(StrEnum):
    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


class Writer(Protocol):
    """Takes results one by one; `close` completes what was written."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


def choose_format(asked: Format | None, output: Path | None) -> Format:
    """As asked, or as the suffix of the output says, or a table on a terminal and JSON elsewhere.

    Raises ValueError for a format that cannot go there.
    """
    if asked is None and output is not None:
        if output.suffix not in TAILS:
            raise ValueError(f"--output={output}: end it in {', '.join(TAILS)}, or give --format")
        return Format(TAILS[output.suffix])
    chosen = asked or (Format.table if sys.stdout.isatty() else Format.json)
    if chosen == Format.parquet and output is None:
        raise ValueError("--format=parquet needs a file: --output=FILE")
    if chosen == Format.table and output is not None:
        raise ValueError("--format=table is for the terminal: choose another one for --output")
    return chosen


@contextmanager
def open_writer(
    kind: Format, output: Path | None, labels: Sequence[str], top_k: int | None
) -> Iterator[Writer]:
    """The writer of a format; a file gets its name once all is written."""
    if output is None:
        writer = make_writer(kind, sys.stdout, labels, top_k)
        try:
            yield writer
            writer.close()
        except BrokenPipeError:  # whoever reads, `head` say, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    output = output.resolve()  # the file behind a link is meant
    if output.is_dir():
        raise ValueError(f"--output={output} is a folder: name a file in it")
    output.parent.mkdir(parents=True, exist_ok=True)
    # A pipe or a device is written to: it is not to be replaced by a file.
    plain = output.is_file() or not output.exists()
    with replacing_path(output) if plain else nullcontext(output) as temporary:
        if kind == Format.parquet:
            writer = ParquetWriter(temporary, labels, top_k)
            yield writer
            writer.close()
        else:
            with temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = make_writer(kind, stream, labels, top_k)
                yield writer
                writer.close()


def make_writer(kind: Format, stream: TextIO, labels: Sequence[str], top_k: int | None) -> Writer:
    if kind == Format.csv:
        return CsvWriter(stream, labels, top_k)
    if kind == Format.table:
        return TableWriter(Console(file=stream), top_k or 3)
    return JsonWriter(stream, top_k, lines=kind == Format.jsonl)


def most_probable(probabilities: dict[str, float], top_k: int | None) -> dict[str, float]:
    """The `top_k` most probable, the first one first; all in the order of the labels without."""
    shown = {label: round(value, 6) for label, value in probabilities.items()}
    if top_k is None:
        return shown
    return dict(sorted(shown.items(), key=lambda item: -item[1])[:top_k])


def as_plain(result: Result, top_k: int | None) -> dict[str, Any]:
    """Plain values for JSON; of each window too only the `top_k` most probable."""
    plain = result.as_plain()
    if isinstance(result, Prediction):
        for part in [plain, *plain.get("windows", [])]:
            part["probabilities"] = most_probable(part["probabilities"], top_k)
        for segment in plain.get("segments", []):
            segment["probability"] = round(segment["probability"], 6)
    return plain


class JsonWriter:
    """A JSON list, or one JSON object a line."""

    def __init__(self, stream: TextIO, top_k: int | None, *, lines: bool) -> None:
        self.stream, self.top_k, self.lines = stream, top_k, lines
        self.written = 0

    def write(self, result: Result) -> None:
        plain = as_plain(result, self.top_k)
        before = "" if self.lines else ",\n" if self.written else "[\n"
        after = "\n" if self.lines else ""
        self.stream.write(before + json.dumps(plain, ensure_ascii=False) + after)
        self.stream.flush()
        self.written += 1

    def close(self) -> None:
        if not self.lines:
            self.stream.write("\n]\n" if self.written else "[]\n")
        self.stream.flush()


class Rows:
    """One flat row a recording; probabilities outside the `top_k` are left out."""

    def __init__(self, labels: Sequence[str], top_k: int | None) -> None:
        self.labels, self.top_k = labels, top_k

    @property
    def columns(self) -> list[str]:
        return ["path", "emotion", "seconds", *(f"p_{label}" for label in self.labels), "error"]

    def row(self, result: Result) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row["path"] = result.path
        if isinstance(result, Failure):
            return row | {"error": result.error}
        shown = most_probable(result.probabilities, self.top_k)
        row |= {"emotion": result.emotion, "seconds": round(result.seconds, 3)}
        return row | {f"p_{label}": value for label, value in shown.items()}


class CsvWriter:
    """The rows as CSV."""

    def __init__(self, stream: TextIO, labels: Sequence[str], top_k: int | None) -> None:
        self.stream, self.rows = stream, Rows(labels, top_k)
        self.writer = csv.DictWriter(stream, self.rows.columns, lineterminator="\n")
        self.writer.writeheader()

    def write(self, result: Result) -> None:
        self.writer.writerow(self.rows.row(result))
        self.stream.flush()

    def close(self) -> None:
        self.stream.flush()


class ParquetWriter:
    """The rows as Parquet, in row groups, with the segments of what was judged in windows."""

    def __init__(self, path: Path, labels: Sequence[str], top_k: int | None) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise OSError("--format=parquet needs `pip install 'ser[parquet]'`") from error
        self.rows, self.held = Rows(labels, top_k), []
        text, number = pyarrow.string(), pyarrow.float64()
        kinds = dict.fromkeys(self.rows.columns, number)
        kinds |= dict.fromkeys(("path", "emotion", "error"), text)
        segment = {"start": number, "end": number, "emotion": text, "probability": number}
        kinds["segments"] = pyarrow.list_(pyarrow.struct(segment))
        self.schema, self.table = pyarrow.schema(kinds), pyarrow.Table
        self.writer = parquet.ParquetWriter(path, self.schema)

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


class TableWriter:
    """A table for people, row by row, with the segments of what was judged in windows."""

    def __init__(self, console: Console, top_k: int) -> None:
        self.console, self.top_k = console, top_k
        self.print_row("recording", "emotion", "most probable", style="bold")

    def print_row(self, path: str | Text, emotion: str, rest: str, style: str = "") -> None:
        """Every row is a grid of its own with the same widths, so none waits for those after it."""
        width = self.console.width
        first = max(24, min(60, width - 14 - 18 * self.top_k))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=first, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=10, no_wrap=True)
        grid.add_column(width=max(8, width - first - 14), no_wrap=True, overflow="ellipsis")
        shown = str(path) if len(path) <= first else f"…{str(path)[1 - first :]}"
        grid.add_row(escape(shown), emotion, rest)
        self.console.print(grid, style=style)

    def write(self, result: Result) -> None:
        path = result.path or "(standard input)"
        if isinstance(result, Failure):
            self.print_row(path, "[red]failed[/red]", f"[red]{escape(result.error)}[/red]")
            return
        shown = most_probable(result.probabilities, self.top_k).items()
        rest = "   ".join(f"{label} {value:4.0%}" for label, value in shown)
        self.print_row(path, f"[bold]{result.emotion}[/bold]", rest)
        for segment in result.segments:
            self.print_row(f"  {describe(segment)}", segment.emotion, f"{segment.probability:.0%}")

    def close(self) -> None:
        pass


def describe(segment: Segment) -> str:
    return f"{clock(segment.start)} to {clock(segment.end)}"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def in_print(result: Result) -> Result:
    """The result with a path that can be written, whatever bytes the name of the file has."""
    path = None if result.path is None else printable(result.path)
    if isinstance(result, Failure):
        return Failure(path, printable(result.error))
    return replace(result, path=path)


def write_all(
    results: Iterable[Result], writer: Writer, total: int | None, *, bar: bool = True
) -> int:
    """Write results as they come, and return how many had failed.

    With `bar` standard error tells how far it is, on a terminal, and what has failed.
    """
    console, failed = Console(stderr=True), 0
    hidden = not (bar and console.is_terminal)
    with progress_bar(console=console, disable=hidden) as progress:
        task = progress.add_task("Listening", total=total)
        for result in map(in_print, results):
            if isinstance(result, Failure):
                failed += 1
                if bar:
                    path = result.path or "(standard input)"
                    print(f"failed: {path}: {result.error}", file=sys.stderr, flush=True)
            writer.write(result)
            progress.advance(task)
        if bar and not progress.tasks[task].completed:
            print("there was no recording to judge", file=sys.stderr)
    return failed
