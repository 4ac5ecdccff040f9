"""Web pages that stand alone: one file, no network; for phone, screen and paper, light and dark.

Templates lie in `templates/`; a page extends `base.html`, and `parts.html` has what pages share
(key figures, tables, galleries). What comes from data is escaped.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from ser.figures import ALARM, FAINT, INK, SERIES

# The palette of our figures, as the page's own variables: so a figure goes dark with its page.
VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)", ALARM: "var(--alarm)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)
}


@dataclass(frozen=True)
class Grid:
    """A table as it is shown: names in the first column, and all cells formatted."""

    columns: list[str]
    rows: list[list[str]]
    more: str = ""  # words about rows that are not shown

    def to_markdown(self) -> str:
        """A Markdown table, names to the left and numbers to the right."""
        rule = [":--", *["--:"] * (len(self.columns) - 1)]
        cells = [[cell.replace("|", "\\|") for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in [self.columns, rule, *cells])


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def count(value: int) -> str:
    return f"{value:,}"


NO_METADATA: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))

environment = Environment(
    loader=PackageLoader("ser"),
    autoescape=lambda name: name is None or name.endswith((".html", ".css")),
    undefined=StrictUndefined,  # a misspelt name is an error, not an empty cell
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters |= {"thousands": count, "percent": percent, "markdown": Grid.to_markdown}


def render(template: str, **context: Any) -> str:
    """The page that a template of `templates/` makes of this context.

    Raises jinja2.UndefinedError where the template asks for what the context has not.
    """
    return environment.get_template(template).render(**context)


def picture(figure: Figure, alt: str) -> Markup:
    """A figure as inline SVG, in the colours and the font of its page; `alt` says what it shows."""
    return embed(draw_svg(figure), alt)


def embed(svg: str, alt: str) -> Markup:
    """An SVG document of `draw_svg` as a part of a page."""
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    # Figures are laid out in points, and shrink to the width of their frame.
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg[svg.index("<svg") :], count=1)
    label = Markup('<svg role="img" aria-label="{}"').format(alt)
    return label + Markup(svg.removeprefix("<svg"))


def draw_svg(figure: Figure) -> str:
    """A figure as an SVG document with its text as text, the same bytes every time."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ser"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    return buffer.getvalue()
