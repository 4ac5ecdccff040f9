"""Lines for a terminal: wrapped between words, and never in a file or a pipe."""

import logging
import shutil
import sys
import textwrap
from typing import TextIO


def find_width(stream: TextIO) -> int | None:
    """The columns of a terminal; None for a file or a pipe."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrap(text: str, stream: TextIO, indent: str = "") -> str:
    """The text with its lines broken between words, later ones indented.

    A word that is longer than a line, such as a path, stays in one piece so that it can be copied.
    """
    width = find_width(stream)
    if width is None:
        return text
    wrapper = textwrap.TextWrapper(
        width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join("\n".join(wrapper.wrap(line)) for line in text.split("\n"))


def say(text: str, *, error: bool = False) -> None:
    """Print to standard output, or to standard error what is no result."""
    stream = sys.stderr if error else sys.stdout
    print(wrap(text, stream), file=stream, flush=True)


def show_logs(*informative: str) -> None:
    """Show each warning once on standard error, and all messages of the loggers named."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter(handler.stream))
    shown: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.levelno < logging.WARNING:
            return True
        new = text not in shown
        shown.add(text)
        return new

    handler.addFilter(is_new)
    logging.basicConfig(handlers=[handler])
    for name in informative:
        logging.getLogger(name).setLevel(logging.INFO)


class LogFormatter(logging.Formatter):
    """The time and the message, wrapped beside the time.

    `stream` is where they are shown; None: standard output.
    """

    INDENT = " " * len("00:00:00 ")

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self.stream = stream

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.exc_info else wrap(text, self.stream or sys.stdout, self.INDENT)
