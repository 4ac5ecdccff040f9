"""Dataclass fields that carry their own documentation."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from ser.errors import UserError, require, suggest_path


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
    require(exists, key, path, f"no such folder{suggest_path(path or '')}")


def require_path(key: str, path: str) -> None:
    """Raise UserError if there is neither a file nor a folder."""
    rule = f"no such file or folder{suggest_path(path)}"
    require(Path(path).expanduser().exists(), key, path, rule)


def require_creatable(key: str, path: Path) -> None:
    """Raise UserError if a folder cannot be there, because a part of the path is a file."""
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    require(existing.is_dir(), key, str(path), f"{existing.name} is a file; name a folder")


def require_file(key: str, path: str | None, rule: str = "no such file") -> None:
    """Raise UserError if a path is given and is not a file; `rule` is the message then."""
    if path is not None and Path(path).expanduser().is_dir():
        raise UserError(f"{key}={path}: a folder, but a file is needed.")
    found = path is None or Path(path).expanduser().is_file()
    require(found, key, path, f"{rule}{suggest_path(path or '')}")
