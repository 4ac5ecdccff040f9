"""Command-line overrides: quoted so that Hydra reads every value, and back as they were typed.

Outside quotes Hydra's grammar allows few characters, and a shell removes quotes before Hydra sees
them. So `output_dir=größe`, `ckpt=epoch=0-step=1.ckpt` and `data.table=it's (1).csv` need quoting.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from ser.errors import UserError

PACKAGE = Path(__file__).parents[1]
# A wheel holds the configs as ser/conf. In a clone they are at the top level.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
GROUPS = frozenset(each.name for each in CONF.iterdir() if each.is_dir())


class Loader(yaml.SafeLoader):
    """YAML in which digits with underscores, such as 2024_01, are text."""


def construct_number(loader: Loader, node: yaml.ScalarNode) -> object:
    if "_" in node.value:
        return node.value
    whole = node.tag == "tag:yaml.org,2002:int"
    return loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)


Loader.add_constructor("tag:yaml.org,2002:int", construct_number)
Loader.add_constructor("tag:yaml.org,2002:float", construct_number)


def load_yaml(text: str) -> object:
    return yaml.load(text, Loader)


# Keys of mappings cannot be quoted, so such mappings are passed as text that OmegaConf parses.
RESOLVER = "ser.yaml"
OmegaConf.register_new_resolver(RESOLVER, load_yaml, replace=True)


def quote(override: str) -> str:
    """The override as Hydra can read it: unchanged if it can already, else with a quoted value."""
    key, equals, value = override.partition("=")
    if equals and not key:
        raise UserError(f"{override} has no setting before the =: type KEY=VALUE")
    if not equals or is_readable(override):
        return override
    quoted = f"{key}={quote_value(value)}"
    return quoted if is_readable(quoted) else override


def unquote(override: str) -> str:
    """The inverse of `quote`: the override as a user types it."""
    try:
        parsed = OverridesParser.create().parse_override(override)
        text = parsed.value()
    except HydraException:
        return override
    if not isinstance(text, str):
        return override
    if nested := re.fullmatch(rf"\$\{{{re.escape(RESOLVER)}:(\".*\")\}}", text, re.DOTALL):
        text = OverridesParser.create().parse_override(f"x={nested[1]}").value()
    typed = f"{override.partition('=')[0]}={text}"
    return typed if quote(typed) == override else override


def is_readable(override: str) -> bool:
    """Whether Hydra's grammar accepts an override and keeps its text."""
    try:
        parsed = OverridesParser.create().parse_override(override)
        value = parsed.value()
    except HydraException:
        return False
    # Hydra fails on an option of a group that is not text, such as 3.
    if parsed.key_or_group in GROUPS and isinstance(value, int | float | None):
        return False
    # output_dir=2026_01_31 would become 20260131
    return not (holds_number(value) and re.search(r"\d_\d", override.partition("=")[2]))


def holds_number(value: object) -> bool:
    """Whether a value of Hydra is a number, or a list or mapping with a number in it."""
    if isinstance(value, Mapping):
        return any(map(holds_number, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(map(holds_number, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def quote_value(value: str) -> str:
    """A string, list or mapping in Hydra's quoted form."""
    plain: object = value
    if value.startswith(("[", "{")):
        try:
            plain = load_yaml(value)
        except yaml.YAMLError:
            plain = value
    if isinstance(plain, list) and all(isinstance(each, str) for each in plain):
        return f"[{','.join(QuotedString(each, Quote.single).with_quotes() for each in plain)}]"
    if isinstance(plain, list | dict):
        value = f"${{{RESOLVER}:{QuotedString(value, Quote.double).with_quotes()}}}"
    return QuotedString(value, Quote.single).with_quotes()
