"""Messages that C libraries print."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Printing:
    """The stream `stderr` of the C library, which libraries print to; Python does not use it."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        try:
            library = ctypes.CDLL(None)
            self._stream = ctypes.c_void_p.in_dll(library, "stderr")
            library.fopen.restype = ctypes.c_void_p
            library.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
            self._null = library.fopen(os.devnull.encode(), b"w")
        except (OSError, ValueError, AttributeError, TypeError):  # another C library
            self._null = None
        self._saved = None

    def stop(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1 and self._null:
                self._saved, self._stream.value = self._stream.value, self._null

    def resume(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._null:
                self._stream.value = self._saved


_printing = _Printing()


@contextmanager
def silence_c_libraries() -> Iterator[None]:
    """Discard what C libraries print to standard error within the block, in all threads.

    Python's own messages still appear. libsndfile has no option that makes libmpg123 quiet.
    Does nothing on systems whose C library has no variable `stderr`.
    """
    _printing.stop()
    try:
        yield
    finally:
        _printing.resume()
