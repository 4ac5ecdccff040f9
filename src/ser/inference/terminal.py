"""Predictions as a table in a terminal."""

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ser.inference.prediction import (
    Failure,
    Prediction,
    Segment,
    describe_source,
    most_probable,
)

LABEL = 8  # characters of most emotions
ENTRY = LABEL + 8  # cells of an emotion with its probability and the space behind it


class TableWriter:
    """A table for people, row by row, with the segments of windowed predictions."""

    def __init__(self, console: Console, top_k: int) -> None:
        self.console, self.top_k = console, top_k
        self.begun = False

    def print_row(
        self,
        path: str,
        emotion: str | Text,
        rest: str | Text,
        style: str = "",
        *,
        wrap: bool = False,
    ) -> None:
        """Print a row. Each is a grid of its own with fixed widths, so it can be shown at once."""
        if not self.begun:
            self.begun = True
            self.print_row("recording", "emotion", "most probable", style="bold")
        width, first = self.console.width, self.path_width
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=first, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=10, no_wrap=True)
        grid.add_column(width=max(8, width - first - 14), no_wrap=not wrap, overflow="ellipsis")
        grid.add_row(Text(shorten(path, first)), emotion, rest)
        self.console.print(grid, style=style)

    @property
    def path_width(self) -> int:
        """Cells of the first column: room for names such as those of RAVDESS."""
        return max(28, min(60, self.console.width - 14 - ENTRY * self.top_k))

    @property
    def shown(self) -> int:
        """How many emotions a line has room for, at most `top_k`."""
        room = self.console.width - self.path_width - 14
        return max(1, min(self.top_k, (room + 3) // ENTRY))

    def write(self, result: Prediction | Failure) -> None:
        path = describe_source(result)
        if isinstance(result, Failure):
            self.print_row(path, Text("failed", "red"), Text(result.error, "red"), wrap=True)
            return
        shown = most_probable(result.probabilities, self.shown).items()
        rest = "   ".join(f"{label:<{LABEL}} {value:4.0%}" for label, value in shown)
        self.print_row(path, Text(result.emotion or "(not confident)", "bold"), Text(rest))
        for segment in result.segments:
            emotion = Text(segment.emotion)
            self.print_row(f"  {describe(segment)}", emotion, f"{segment.probability:.0%}")

    def close(self) -> None:
        pass


def shorten(path: str, width: int) -> str:
    """The end of a path, with an ellipsis if it is longer than the width in terminal cells."""
    if cell_len(path) <= width:
        return path
    while cell_len(path) >= width:
        path = path[1:]
    return f"…{path}"


def describe(segment: Segment) -> str:
    return f"{clock(segment.start)} to {clock(segment.end)}"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
