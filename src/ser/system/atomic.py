"""Atomic writes: files are written under a temporary name and renamed when they are complete.

Also a lock for folders that one run at a time may fill.
"""

import errno
import logging
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node
from typing import BinaryIO

from filelock import BaseFileLock, FileLock, Timeout

log = logging.getLogger(__name__)
HOST = f"{zlib.crc32(node().encode()):08x}"
FORGOTTEN = 7 * 86_400  # seconds after which the draft of another machine is a leftover
NAME_LENGTH = 60  # characters of the file name that its draft repeats
# Errors of writing to an open file, which do not say to which one.
FULL = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO")} - {None}
UMASK = os.umask(0o022)  # reading it means setting it for all threads, so it is read once
os.umask(UMASK)


def draft_of(path: Path) -> Path:
    """A hidden temporary name in the folder of `path`; removes those that killed processes left."""
    remove_leftovers(path)
    own = f"{HOST}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return path.with_name(f".{path.name[:NAME_LENGTH]}.{own}.tmp")


def remove_leftovers(path: Path) -> None:
    """Remove drafts of `path` whose process is dead; files that cannot be removed are kept."""
    prefix = f".{path.name[:NAME_LENGTH]}."
    with suppress(OSError):  # no such folder, or not readable
        for draft in path.parent.iterdir():
            if not (draft.name.startswith(prefix) and draft.name.endswith(".tmp")):
                continue
            if is_leftover(draft):
                remove(draft)


def is_leftover(draft: Path) -> bool:
    """Whether the process of a draft has died; on other machines, whether it is a week old."""
    owner = re.search(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{6}\.tmp$", draft.name)
    if owner is not None and owner[1] == HOST:
        return not is_alive(int(owner[2]))
    return time.time() - draft.stat().st_mtime > FORGOTTEN


def is_alive(process: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A name to write under; the file replaces `path` if the block ends without an error.

    Only its owner can ever read a `private` file. An error of writing names `path`.
    """
    draft = draft_of(path)
    try:
        with naming(path, draft):
            if private:
                draft.touch(mode=0o600)
            yield draft
            flush(draft)
            if not private:
                share(draft)
            draft.replace(path)
    finally:
        with suppress(OSError):  # on a read-only disk even for a file that is not there
            draft.unlink()


@contextmanager
def naming(path: Path, draft: Path) -> Iterator[None]:
    """Errors of writing a draft name what it is a draft of."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno in FULL
        own = error.filename is not None and str(error.filename).startswith(str(draft))
        if not (unnamed or own):  # of another file
            raise
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock beside a folder that is written; logs if another run holds it.

    An error of locking names the folder.
    """
    file = folder.with_name(f".{folder.name}.lock")
    with naming(folder, file):
        lock = wait_for(FileLock(file), folder)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Hold the lock in a folder while it is filled; logs if another run holds it."""
    lock = wait_for(FileLock(folder / "lock"), folder)
    try:
        yield
    finally:
        lock.release()


def wait_for(lock: BaseFileLock, folder: Path) -> BaseFileLock:
    """Acquire the lock of a folder."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("Another run is filling %s: waiting for it", folder)
        lock.acquire()
    return lock


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """A new folder, which becomes `folder` if the block ends without an error.

    An error of writing names `folder`.
    """
    draft = draft_of(folder)
    try:
        with naming(folder, draft):
            draft.mkdir(parents=True)
            yield draft
            share(draft)
            draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def share(path: Path) -> None:
    """Give a file, or all files in a folder, the permissions that new files have here.

    Some libraries create files that only their owner may read, such as safetensors.
    """
    if os.name == "nt":
        return
    for file in path.rglob("*") if path.is_dir() else [path]:
        file.chmod((0o777 if file.is_dir() else 0o666) & ~UMASK)


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to; otherwise as `replacing_path`."""
    with replacing_path(path, private=private) as draft, draft.open("wb") as file:
        yield file


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    with replacing(path, private=private) as file:
        file.write(text.encode())
