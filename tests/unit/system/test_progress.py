"""The rate beside a progress bar."""

import pytest
from rich.progress import Progress

from ser.system.progress import Throughput


@pytest.mark.parametrize(
    ("units", "seconds", "shown"),
    [
        (500, 2.0, "250 clips/s"),
        (3, 2.0, "1.5 clips/s"),
        (1, 25.0, "0.04 clips/s"),
        (500, 1e-5, ""),
    ],
)
def test_the_rate_is_shown_unless_the_time_is_too_short(units, seconds, shown):
    now = 0.0
    progress = Progress(get_time=lambda: now, disable=True)
    task = progress.add_task("", total=units)
    now = seconds
    progress.update(task, completed=units)
    assert Throughput("clips").render(progress.tasks[0]).plain == shown
