"""Work on many clips, shared out over the cores of this machine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed

Share = TypeVar("Share")
Result = TypeVar("Result")

PROCESSES_FROM = 2000  # clips; fewer are done before processes would have started


def on_all_cores(
    work: Callable[[Share], Result], shares: Iterable[Share], clips: int
) -> Iterator[Result]:
    """What `work` makes of each share, in order; `clips` says how many there are in all.

    Many are worth starting processes: at less than a millisecond a clip, threads spend more time
    on waiting for the interpreter lock than at work.
    """
    backend = "threading" if clips < PROCESSES_FROM else "loky"
    # Workers whose parent was killed wait for so many seconds, not for five minutes.
    patience: dict[str, Any] = {"idle_worker_timeout": 20} if backend == "loky" else {}
    run: Any = Parallel(cpu_count(), backend=backend, return_as="generator", **patience)
    yield from run(delayed(work)(share) for share in shares)
