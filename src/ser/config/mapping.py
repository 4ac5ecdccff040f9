"""Settings that map words to words, such as `data.label_map`; keys are always text.

Hydra's grammar accepts only plain keys in `{key: value}`, and turns `0` or `true` into other types.
So a mapping may also be given as text in YAML, or as the name of a YAML or JSON file.
"""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ser.errors import UserError, require

FILES = (".yaml", ".yml", ".json")
PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)  # what Hydra reads as text without quotes
BARE = re.compile(r"[^\W_](?:[\w -]*\w)?")  # what YAML reads as text without quotes
NULL = ("null", "~", "")
RESERVED = ("null", "true", "false", "nan", "inf")


def as_mapping(key: str, value: Any) -> dict[str, str | None]:
    """The mapping that a setting holds: a dict, YAML text, or the name of a YAML or JSON file.

    Raises UserError, which names the setting, for anything else.
    """
    if isinstance(value, Mapping):
        return {as_text(name): as_value(other) for name, other in value.items()}
    if value is None:
        return {}
    text = str(value).strip()
    if text.lower().endswith(FILES):
        path = Path(text).expanduser()
        require(path.is_file(), key, text, "no such file")
        try:
            return parse(f"{key}={text}", path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"{key}={text} is not encoded in UTF-8: save it as UTF-8") from error
    return parse(key, text)


def as_text(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def as_value(value: Any) -> str | None:
    return None if value is None else as_text(value)


def parse(source: str, text: str) -> dict[str, str | None]:
    """A mapping in YAML or JSON, in which every scalar is text; null is None."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(
            f"{source} is not valid YAML or JSON: {' '.join(str(error).split())}; put words with"
            " other characters than letters and digits into double quotes"
        ) from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode) or not all(
        isinstance(part, yaml.ScalarNode) for pair in node.value for part in pair
    ):
        raise UserError(
            f"{source}: a mapping such as {{anger: angry}} is expected, or a YAML or JSON file with"
            " one, without lists and without further mappings in it"
        )
    found: dict[str, str | None] = {}
    for name, value in node.value:
        if name.value in found:
            raise UserError(f"{source}: {name.value!r} is mapped twice")
        plain = value.style is None and value.value.lower() in NULL
        found[name.value] = None if plain else value.value
    return found


def show_override(key: str, mapping: Mapping[str, str | None]) -> str:
    """The command-line override that sets a mapping, quoted for a shell."""
    values = [value for value in mapping.values() if value is not None]
    if all(map(is_plain, [*mapping, *values])):
        pairs = ", ".join(
            f"{name}: {'null' if value is None else value}" for name, value in mapping.items()
        )
        return shlex.quote(f"{key}={{{pairs}}}")
    pairs = ", ".join(f"{quote(name)}: {quote(value)}" for name, value in mapping.items())
    return shlex.quote(f"{key}={quote_hydra(f'{{{pairs}}}')}")


def is_plain(word: str) -> bool:
    """Whether Hydra reads a word as text without quotes."""
    return bool(PLAIN.fullmatch(word)) and word.lower() not in RESERVED


def quote(word: str | None) -> str:
    """A YAML scalar; JSON's double quotes are valid YAML."""
    if word is None:
        return "null"
    plain = BARE.fullmatch(word) and word.lower() not in NULL
    return word if plain else json.dumps(word, ensure_ascii=False)


def escape_reference(text: str) -> str:
    """The text for OmegaConf, which replaces `${name}` unless a backslash precedes it."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)


def quote_hydra(text: str) -> str:
    """A quoted value of Hydra's grammar, where backslashes count only before a quote."""
    escaped = re.sub(r'(\\*)"', lambda found: 2 * found[1] + r"\"", escape_reference(text))
    escaped = re.sub(r"(\\+)$", lambda found: 2 * found[1], escaped)
    return f'"{escaped}"'
