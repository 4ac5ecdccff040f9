"""Text from data as Markdown: no HTML, no links and no markup from names and notes."""

import re

from markupsafe import Markup

# An underscore between two letters or digits is text.
SPECIAL = re.compile(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_]))")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
DATA_LINES = re.compile(r"\s*\n\s*")


def escape(text: object) -> str:
    """The text of a value, on one line, with everything escaped that Markdown or HTML interprets.

    Markup stays as it is.
    """
    if isinstance(text, Markup):
        return str(text)
    words = DATA_LINES.sub(" ", str(text))
    for character, entity in ENTITIES.items():
        words = words.replace(character, entity)
    return SPECIAL.sub(r"\\\1", words)


def code_block(text: str, language: str = "bash") -> Markup:
    """A block of code, fenced by more backticks than the text has in a row."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{text}\n{fence}")  # a fence is not HTML
