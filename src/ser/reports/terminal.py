"""Printing to a terminal: text is printed as it is, because brackets in names are not markup."""

from rich.console import Console
from rich.text import Text

from ser.reports.tables import Table


def show(*items: Table | str, style: str = "") -> None:
    """Print tables and lines of text, wrapped between words on a terminal and never in a file."""
    console = Console(highlight=False)
    console.soft_wrap = not console.is_terminal
    for item in items:
        console.print(item.to_rich() if isinstance(item, Table) else Text(item, style=style))


def show_command(command: str) -> None:
    """Print a command in one piece, so that it can be copied."""
    Console(highlight=False, soft_wrap=True).print(Text(f"  {command}"))
