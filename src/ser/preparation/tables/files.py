"""From the paths in a table to files: separators, folders, and recordings inside the table."""

import hashlib
import json
import logging
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath, PureWindowsPath

from ser.audio.stream import ADDRESS
from ser.preparation.tables.raw import Embedded
from ser.system.atomic import locked, writing_folder
from ser.system.files import identify

log = logging.getLogger(__name__)
INDEX = "index.json"
LONGEST_NAME = 200  # bytes


def with_slashes(name: str) -> str:
    """The path with the separators of this system; Windows writes backslashes."""
    return name if os.sep == "\\" else PureWindowsPath(name).as_posix() if "\\" in name else name


def explain_address(name: str) -> str:
    """What to do about a path that is an address, such as https://host/a.wav; "" for others."""
    if not ADDRESS.match(name):
        return ""
    if name.lower().startswith("file:"):
        return "write the path without file://"
    return "it is an address: download the recordings, and write the paths of the files"


def locate_files(names: Iterable[str], folder: Path) -> dict[str, str]:
    """The file of each path: relative ones start at `folder` or at the working directory.

    A path that exists in neither gets the one in `folder`.
    """
    bases = (str(folder.absolute()), str(Path.cwd()))
    return {
        name: find_file(name, bases) or str(Path(bases[0], with_slashes(name)))
        for name in dict.fromkeys(names)
    }


def find_file(name: str, bases: Iterable[str]) -> str | None:
    """The existing file of a path below one of the folders, in either form of its letters."""
    slashed = with_slashes(name)
    forms = (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))
    for spelling in dict.fromkeys((name, slashed, *forms)):
        for base in bases:
            path = os.path.join(base, spelling)  # noqa: PTH118 (Path takes ten times as long)
            if os.path.exists(path):  # noqa: PTH110
                return path
    return None


def tried_folders(folder: Path) -> str:
    """The folders in which relative paths are looked up, for messages."""
    folders = dict.fromkeys((str(folder.absolute()), str(Path.cwd())))
    return " and ".join(folders)


def extract(audio: Embedded, folder: Path) -> list[tuple[str, str]]:
    """A name and a file for each recording inside a table, written below `folder` once.

    A recording that is only named, not contained, has its path in the table as both.
    """
    states = [(path.name, *identify(path)) for path in audio.files]
    digest = hashlib.sha256(repr(states).encode()).hexdigest()[:12]
    target = folder.expanduser() / f"{audio.name}-{digest}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.is_dir():
            log.warning("Extracting the recordings of %s into %s", audio.name, target)
            write_all(audio, target)
    listed = json.loads((target / INDEX).read_text(encoding="utf-8"))
    return [(name, str(target / name) if path is None else path) for name, path in listed]


def file_name(path: str) -> str:
    """The last part of a path, as a name that every file system accepts."""
    name = "".join(
        each if each.isprintable() else "_" for each in PurePath(with_slashes(path)).name
    )
    return name if len(name.encode()) <= LONGEST_NAME else ""


def write_all(audio: Embedded, target: Path) -> None:
    """Write the recordings and an index into a new folder, which is complete or not there.

    Call it under the lock.
    """
    listed: list[tuple[str, str | None]] = []
    with writing_folder(target) as draft:
        for row, (content, path) in enumerate(audio.read(), 1):
            if content is None:
                listed.append((path, path))
                continue
            name = f"{row:06}-{file_name(path)}".rstrip("-")
            (draft / name).write_bytes(content)
            listed.append((name, None))
        (draft / INDEX).write_text(json.dumps(listed), encoding="utf-8")
