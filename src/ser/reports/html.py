"""Web pages in one file without a network, for phones, screens and paper, light and dark.

Templates are in `templates/`: a page extends `base.html`, and `parts.html` has what pages share
(key figures, tables, confusion matrices, galleries). Text from data is escaped, in HTML and in
Markdown.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from ser.figures.style import ALARM, FAINT, INK, ON_HEAT, PARTS, SERIES, STYLE, TITLE
from ser.reports.markdown import code_block, escape
from ser.reports.tables import Table, bare_percent, count, fraction

# Figures are drawn with these colours; a page replaces them by its own variables.
VARIABLES = (
    {INK: "var(--ink)", FAINT: "var(--line)", ALARM: "var(--alarm)", ON_HEAT: "var(--on-heat)"}
    | {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)}
    | {colour: f"var(--part-{number})" for number, colour in enumerate(PARTS, 1)}
)
NO_METADATA: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@pass_eval_context
def finalize(context: EvalContext, value: Any) -> Any:
    """Escape what a Markdown template prints; HTML templates escape by themselves."""
    return value if context.autoescape else escape(value)


environment = Environment(
    loader=PackageLoader("ser.reports"),
    autoescape=lambda name: name is None or not name.endswith(".md"),
    finalize=finalize,
    undefined=StrictUndefined,  # a misspelt name is an error, not an empty cell
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters |= {
    "thousands": count,
    "fraction": fraction,
    "share": bare_percent,
    "markdown": Table.to_markdown,
    "code": code_block,
}


def render(template: str, **context: Any) -> str:
    """The page that a template of `templates/` makes of this context.

    Raises jinja2.UndefinedError if the template uses a name that the context does not have.
    """
    return environment.get_template(template).render(**context)


@dataclass(frozen=True)
class Heat:
    """A confusion matrix for the macro `heat`: class names, and the cells of each row."""

    names: Sequence[str]
    confusion: Sequence[Sequence[int]]

    def rows(self) -> list[tuple[str, int, list[tuple[int, float]]]]:
        """Name, utterances, and for each predicted class the count and its share of the row."""
        totals = [sum(row) for row in self.confusion]
        return [
            (name, total, [(cell, cell / total if total else 0.0) for cell in row])
            for name, total, row in zip(self.names, totals, self.confusion, strict=True)
        ]


def picture(figure: Figure, alt: str) -> Markup:
    """A figure as inline SVG in the colours and font of its page; `alt` says what it shows."""
    return embed(draw_svg(figure), alt)


def embed(svg: str, alt: str) -> Markup:
    """An SVG document of `draw_svg` as part of a page."""
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    # Without a height it scales to the width of its frame.
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg[svg.index("<svg") :], count=1)
    label = Markup('<svg role="img" aria-label="{}"').format(alt)
    return label + Markup(svg.removeprefix("<svg"))  # matplotlib escapes text


def draw_svg(figure: Figure) -> str:
    """A figure as an SVG document with its text as text, the same bytes every time."""
    buffer = io.StringIO()
    with rc_context(STYLE | {"svg.fonttype": "none", "svg.hashsalt": "ser"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    # A named artist gets a title, which browsers show on hover. The name is escaped already.
    named = rf"<g id=([\"']){re.escape(TITLE)}(.*?)\1>"
    return re.sub(named, r"<g><title>\2</title>", buffer.getvalue())
