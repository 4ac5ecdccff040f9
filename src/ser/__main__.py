"""The console script `ser`, also started as `python -m ser`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Let Ctrl-C end the process at once in the block; Python would show a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # not if it is ignored, as in a background job
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def main() -> None:
    with quiet_imports():
        from ser.commands.main import main as run
    run()


if __name__ == "__main__":
    main()
