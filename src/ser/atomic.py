"""Files that are whole or not there: written under another name, renamed once on the disk.

And folders that one run at a time fills.
"""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """A name to write under; the file takes the place of `path` once the block ends well."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` once the block ends without an error."""
    with replacing_path(path) as temporary, temporary.open("wb") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Nobody else fills the folder meanwhile; says so where somebody else is at it."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("Another run is filling %s: waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
