"""How one setting is written down: its default, its documentation, its rule."""

from dataclasses import field
from difflib import get_close_matches
from typing import Any


def setting(default: Any, doc: str) -> Any:
    """A dataclass field whose one-line documentation `--help` shows."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


def group(kind: type) -> Any:
    return field(default_factory=kind)


def require(condition: bool, key: str, value: object, rule: str) -> None:
    if not condition:
        raise ValueError(f"{key}={value}: {rule}.")


def suggest(word: str, known: list[str], prefix: str = "") -> str:
    """A hint like "; did you mean model.lr?", or nothing where no known word is near."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
