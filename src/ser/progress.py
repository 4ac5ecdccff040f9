"""How far slow work is, on a terminal."""

from typing import Any

from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text


class Throughput(ProgressColumn):
    """So many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} {self.unit}/s")


def progress_bar(unit: str = "", **options: Any) -> Progress:
    """A bar with counts and the time that is left, and a rate where a unit is named."""
    rate = [Throughput(unit)] if unit else []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), *rate)
    return Progress(*columns, TimeRemainingColumn(), **options)
