"""Dataclass fields that carry their own documentation."""

import re
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from ser.errors import UserError, require

HUB_ADDRESS = re.compile(r"(?:hf:/{1,2}|https?://(?:www\.)?(?:huggingface\.co|hf\.co)/)")
HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:/tree/main)?/?")


def setting(default: Any, doc: str) -> Any:
    """A dataclass field with a one-line description, which `--help` prints."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


def group(kind: type) -> Any:
    """A dataclass field that holds a nested group of settings."""
    return field(default_factory=kind)


def require_shares(prefix: str, settings: object, *names: str) -> None:
    """Raise UserError unless each of these settings is at least 0 and below 1."""
    for name in names:
        share = getattr(settings, name)
        require(0 <= share < 1, f"{prefix}.{name}", share, "at least 0 and below 1")


def require_speeds(key: str, speeds: Sequence[float]) -> None:
    """Raise UserError unless these are different playback speeds from 0.5 to 2."""
    valid = bool(speeds) and min(speeds) >= 0.5 and max(speeds) <= 2
    distinct = len(set(speeds)) == len(speeds)
    require(valid and distinct, key, list(speeds), "different speeds from 0.5 to 2")


def require_folder(key: str, path: str | None) -> None:
    """Raise UserError if a path is given and is not a folder."""
    exists = path is None or (bool(path.strip()) and Path(path).expanduser().is_dir())
    require(exists, key, path, "no such folder")


def require_path(key: str, path: str) -> None:
    """Raise UserError if there is neither a file nor a folder."""
    require(Path(path).expanduser().exists(), key, path, "no such file or folder")


def require_creatable(key: str, path: Path) -> None:
    """Raise UserError if a folder cannot be there, because a part of the path is a file."""
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    require(existing.is_dir(), key, str(path), f"{existing.name} is a file; name a folder")


def without_address(source: str) -> str:
    """OWNER/NAME for an address of the hub; other sources unchanged."""
    address = HUB_ADDRESS.match(source)
    name = HUB_NAME.fullmatch(source, address.end()) if address else None
    return name[1] if name else source


def may_be_on_hub(name: str) -> bool:
    """Whether a name is OWNER/NAME, and not a path below an existing folder, such as runs/none."""
    local = name.startswith((".", "/", "~")) or Path(name).parent.is_dir()
    return HUB_NAME.fullmatch(name) is not None and not local


def require_model(key: str, name: str) -> None:
    """Raise UserError for neither a file, nor a folder, nor a name of the hub."""
    found = Path(name).expanduser().exists() or may_be_on_hub(without_address(name))
    require(found, key, name, "no such file or folder, and not OWNER/NAME on the hub")


def require_file(key: str, path: str | None) -> None:
    """Raise UserError if a path is given and is not a file."""
    if path is not None and Path(path).expanduser().is_dir():
        raise UserError(f"{key}={path}: a folder, but a file is needed.")
    require(path is None or Path(path).expanduser().is_file(), key, path, "no such file")
