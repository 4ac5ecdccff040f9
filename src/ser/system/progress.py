"""Progress bars on a terminal."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

Item = TypeVar("Item")
SHORTEST = 0.1  # seconds that are too few to measure a rate


class Throughput(ProgressColumn):
    """Finished units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        seconds = (task.finished_time if task.finished else task.elapsed) or 0
        rate = task.completed / seconds if task.finished and seconds else task.speed
        if not rate or seconds < SHORTEST:
            return Text("")
        return Text(f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2g} {self.unit}/s")


def progress_bar(unit: str = "", **options: Any) -> Progress:
    """A bar with counts and the remaining time, and with a rate if a unit is given.

    It is shown on standard error, because standard output is for results.
    """
    options.setdefault("console", Console(stderr=True))
    rate = [Throughput(unit)] if unit else []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), *rate)
    return Progress(*columns, TimeRemainingColumn(), **options)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items; a terminal shows on standard error how many of the total there were."""
    console = Console(stderr=True)
    with progress_bar(console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=description)
