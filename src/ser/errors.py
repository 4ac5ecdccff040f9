"""The exception for mistakes that a user can fix, and the checks that raise it.

Every command shows a `UserError` as one line and exits with code 2. Any other exception is a bug
and keeps its traceback.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "speech-emotion"
HUB_HELP = (
    "check the network, the proxy (HTTPS_PROXY), a mirror (HF_ENDPOINT), a token (HF_TOKEN) and"
    " HF_HUB_OFFLINE"
)


class UserError(ValueError):
    """Wrong input, configuration or environment. The message says what, where and how to fix it."""


def require(condition: bool, key: str, value: object, rule: str) -> None:
    """Raise UserError, which names the key and its value, unless the condition holds."""
    if not condition:
        raise UserError(f"{key}={value}: {rule if rule.endswith('?') else f'{rule}.'}")


def amount(number: int, noun: str) -> str:
    """A number with its noun: `1 clip`, `2,000 clips`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def first_line(error: BaseException) -> str:
    """The first line of the message of an error, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def suggest(word: str, known: list[str], prefix: str = "") -> str:
    """A hint such as "; did you mean model.lr?", or an empty string if no known word is close."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def suggest_path(typed: str | Path) -> str:
    """A hint such as "; did you mean runs/savee?"; "" if the path exists or no other is like it."""
    path = Path(typed).expanduser()
    with suppress(OSError, ValueError):
        if path.exists():
            return ""
        beside = [each.name for each in path.parent.iterdir()]
        if near := get_close_matches(path.name, beside, n=1):
            return f"; did you mean {path.parent / near[0]}?"
    return ""


def install_hint(extra: str) -> str:
    """The command that installs an optional dependency group of this distribution.

    It names the requirements of the group, not `NAME[extra]`: that form depends on where this
    package was installed from (a clone, git, a wheel, an index).
    """
    installer = "pip install" if find_spec("pip") else "uv pip install"
    return f"{installer} {shlex.join(requirements_of(extra))}"


def requirements_of(extra: str) -> list[str]:
    """The requirements of an optional dependency group, such as "silero-vad>=6.2"."""
    from packaging.requirements import Requirement

    try:
        listed = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:  # a source tree that was not installed
        return ["-e", f".[{extra}]"]
    chosen = [
        each
        for each in listed
        if each.marker
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    ]
    for each in chosen:
        each.marker = None
    return [str(each) for each in chosen]


@contextmanager
def optional_dependency(extra: str) -> Iterator[None]:
    """Turn a missing module in the block into a UserError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {install_hint(extra)}") from error
