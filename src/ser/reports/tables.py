"""Tables that are built once and rendered to terminal, Markdown and HTML; formatted numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from ser.metrics.intervals import Interval
from ser.reports.markdown import escape

RIGHT = "r"
FIRST_WIDTH = 16  # letters that names have room for in a narrow terminal


@dataclass(frozen=True)
class Table:
    """Formatted cells under column names.

    `alignment` has `l` or `r` for each column; by default the first column is left-aligned and the
    others are numbers. Rows whose first cell is in `strong` are sums or means, and shown in bold.
    `note` describes rows that are left out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    alignment: str = ""
    strong: Sequence[str] = ()

    @property
    def aligned(self) -> str:
        return self.alignment or "l" + RIGHT * (len(self.columns) - 1)

    def only(self, columns: Sequence[str]) -> "Table":
        """The same rows with some of the columns, for a narrow terminal."""
        places = [list(self.columns).index(name) for name in columns]
        rows = [[row[place] for place in places] for row in self.rows]
        alignment = "".join(self.aligned[place] for place in places)
        return Table(columns, rows, self.note, alignment, self.strong)

    def to_markdown(self) -> Markup:
        rule = ["--:" if side == RIGHT else ":--" for side in self.aligned]
        cells = [[escape(cell) or " " for cell in row] for row in (self.columns, *self.rows)]
        lines = [f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:])]
        return Markup("\n".join(lines))  # cells are escaped

    def to_rich(self) -> RichTable:
        """A table for a terminal; brackets in cells are text, not markup."""
        table = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
        widest = max((len(row[0]) for row in self.rows), default=0)
        for place, (name, side) in enumerate(zip(self.columns, self.aligned, strict=True)):
            right = side == RIGHT
            table.add_column(
                Text(name),
                justify="right" if right else "left",
                no_wrap=right,
                overflow="fold" if place == 0 else "ellipsis",
                min_width=min(widest, FIRST_WIDTH) if place == 0 else None,
            )
        for row in self.rows:
            style = "bold" if row[0] in self.strong else ""
            table.add_row(*(Text(cell) for cell in row), style=style)
        return table


def fraction(value: float | None) -> str:
    """A score, a probability or an error between 0 and 1, as papers print them."""
    return "–" if value is None else f"{value:.3f}"


def percent(value: float) -> str:
    """A share of the data."""
    return f"{value:.1%}"


def bare_percent(value: float) -> str:
    """A share in percent without the sign, short enough for the cell of a matrix."""
    return "100" if value == 1 else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference of scores."""
    return f"{value:+.3f}"


def count(value: int) -> str:
    return f"{value:,}"


PLAIN, SIGNED = "{:.3f} to {:.3f}", "{:+.3f} to {:+.3f}"


def show_interval(interval: Interval | None, form: str = PLAIN) -> str:
    """The ends of an interval, or a dash if there is none."""
    if interval is None or interval.low == interval.high:  # an old report without spread
        return "–"
    return form.format(*interval.ends)


def show_p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
