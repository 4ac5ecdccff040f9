"""The files below a folder, names of files that can be written down, and files of values."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def fail(error: OSError) -> None:
    raise error


def list_files(folder: Path, on_error: Callable[[OSError], object] = fail) -> list[Path]:
    """Every file below a folder, sorted; linked folders are entered, each only once.

    Raises OSError for a folder that cannot be listed, or hands it to `on_error`: its files would
    be missed in silence.
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


def printable(name: str) -> str:
    """A name in which bytes that are no UTF-8, which Linux allows, stand as hexadecimal numbers."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ValueError where there is another thing."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): make it anew") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is damaged: it holds no object; make it anew")
    return content
