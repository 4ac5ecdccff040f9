"""Process many clips on all cores of this machine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed

Share = TypeVar("Share")
Result = TypeVar("Result")

PROCESSES_FROM = 2000  # clips; fewer take less time than starting processes


def on_all_cores(
    work: Callable[[Share], Result], shares: Iterable[Share], clips: int
) -> Iterator[Result]:
    """Yield the results of `work` for each share, in order; `clips` is the total number of clips.

    Many clips are processed by processes: below a millisecond per clip, threads mostly wait for
    the interpreter lock. Few are processed by threads.
    """
    backend = "threading" if clips < PROCESSES_FROM else "loky"
    # Workers whose parent was killed end after 20 s instead of five minutes.
    patience: dict[str, Any] = {"idle_worker_timeout": 20} if backend == "loky" else {}
    run: Any = Parallel(cpu_count(), backend=backend, return_as="generator", **patience)
    yield from run(delayed(work)(share) for share in shares)
