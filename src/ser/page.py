"""Web pages that stand alone: one file, no network; for phone, screen and paper, light and dark.

Templates lie in `templates/`; a page extends `base.html`, and `parts.html` has what pages share
(key figures, tables, galleries). What comes from data is escaped.
"""

import io
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from ser.figures import FAINT, INK, PAPER

# The palette of our figures, as the page's own variables: so a figure goes dark with its page.
VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)", PAPER: "var(--card)"}

environment = Environment(
    loader=PackageLoader("ser"),
    autoescape=True,
    undefined=StrictUndefined,  # a misspelt name is an error, not an empty cell
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters["thousands"] = "{:,}".format


def render(template: str, **context: Any) -> str:
    """The page that a template of `templates/` makes of this context.

    Raises jinja2.UndefinedError where the template asks for what the context has not.
    """
    return environment.get_template(template).render(**context)


def picture(figure: Figure, alt: str) -> Markup:
    """A figure as inline SVG, in the colours and the font of its page; `alt` says what it shows."""
    text = draw_svg(figure)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    start = text.index("<svg")
    label = Markup('<svg role="img" aria-label="{}"').format(alt)
    # Figures are laid out in points, and shrink to the width of their frame.
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text[start:], count=1)
    return label + Markup(svg.removeprefix("<svg"))


def draw_svg(figure: Figure) -> str:
    """A figure as an SVG document with its text as text, the same bytes every time."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ser"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
