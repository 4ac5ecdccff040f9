"""List the files of a folder, print their names, read JSON files, and report damaged files."""

import errno
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from ser.errors import UserError

LFS_POINTER = b"version https://git-lfs"
# What libraries raise for damaged files; they have no common exception.
DAMAGE = (
    *(ValueError, TypeError, LookupError, RuntimeError, EOFError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def fail(error: OSError) -> None:
    raise error


def list_files(folder: Path, on_error: Callable[[OSError], object] = fail) -> list[Path]:
    """Every file below a folder, sorted; linked folders are entered, each only once.

    `on_error` receives the error of a folder that cannot be listed; by default it is raised, so
    that no file is missed silently.
    """
    files, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=on_error):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        files.extend(Path(parent, name) for name in names)
    return sorted(files)


def is_folder(name: str | Path) -> bool:
    """Whether a name is that of a folder; False if it is longer than the system allows."""
    return os.path.isdir(name)  # noqa: PTH112 (Path.is_dir raises OSError for such a name)


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file stands for another one that Git LFS has not fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def compute_checksum(path: Path) -> str:
    """A hash of the content of a file; xxHash takes a tenth of the time of SHA-256."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            digest.update(chunk)
    return digest.hexdigest()


def printable(name: str) -> str:
    """A file name that can be printed: bytes that are not UTF-8 become hexadecimal escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises UserError for any other content."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}): create it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} is damaged: it contains no JSON object; create it again")
    return content


@contextmanager
def reporting_damage(problem: str, advice: str) -> Iterator[None]:
    """Raise UserError if a library finds that a file is damaged.

    Errors of the operating system pass, except that of an impossible offset in the file.
    """
    try:
        yield
    except UserError:
        raise
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{problem} ({reason}); {advice}") from error


def identify(path: Path) -> tuple[int, int]:
    """Size and modification time, which identify the state of a file; -1 if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def shorten(path: Path) -> Path:
    """The path relative to the working folder if it is below it, else unchanged."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
