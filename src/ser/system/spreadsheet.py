"""Text cells of CSV files that people open in a spreadsheet.

A spreadsheet takes a cell that begins with one of FORMULA for a formula and runs it. An apostrophe
before it prevents that. Use it for files that people read, such as `predictions.csv`, and not for
files that other programs read back, such as `manifest.csv`.
"""

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escape_cell(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would take it for a formula.

    Apostrophes that precede such a text get one more, so that `unescape_cell` restores it.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def unescape_cell(text: str) -> str:
    """The text that `escape_cell` was given."""
    escaped = text.startswith("'") and text.lstrip("'").startswith(FORMULA)
    return text[1:] if escaped else text
