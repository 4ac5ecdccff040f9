"""Process many clips on all cores of this machine."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    if clips < PROCESSES_FROM:
        yield from in_threads(work, shares)
        return
    # Says how many tasks were not used when a command is stopped.
    warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning, "joblib")
    # Workers whose parent was killed end after 20 s instead of five minutes.
    patience: dict[str, Any] = {"idle_worker_timeout": 20}
    run: Any = Parallel(cpu_count(), backend="loky", return_as="generator", **patience)
    yield from run(delayed(work)(share) for share in shares)


def in_threads(work: Callable[[Share], Result], shares: Iterable[Share]) -> Iterator[Result]:
    """As `on_all_cores`, with threads, which have ended when the generator is closed.

    Those of joblib go on, and C++ libraries in them abort a process that is exiting.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(cpu_count()) as pool:
        try:
            for share in shares:
                waiting.append(pool.submit(work, share))
                if len(waiting) > 2 * cpu_count():  # few, because shares may be large
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
