"""The dimensions of a search, written as in Hydra's sweeps: `a,b`, `range`, `interval`."""

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from ser.config.overrides import quote, unquote
from ser.config.train import TrainConfig
from ser.errors import require


@dataclass(frozen=True)
class Dimension:
    """One setting to search: the choices as typed, or else a range of numbers.

    The limits of a `relative` range are multiples of the value that the config has.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    relative: bool = False

    @property
    def whole(self) -> bool:
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def sample(self) -> str:
        """One value of this dimension, to check that the setting exists."""
        return self.choices[0] if self.choices else f"{self.key}={self.low}"

    def resolve(self, config: TrainConfig) -> "Dimension":
        """The same dimension with a range of its own. Raises UserError without a value above 0."""
        if not self.relative:
            return self
        value: Any = reduce(
            lambda part, name: getattr(part, name, None), self.key.split("."), config
        )
        number = isinstance(value, int | float) and value > 0
        require(number, self.key, value, "a relative range needs a value above 0 in the config")
        return replace(self, low=self.low * value, high=self.high * value, relative=False)


def read_space(overrides: list[str], default: Path) -> tuple[list[str], list[Dimension]]:
    """The overrides without a range, and the dimensions among the others.

    Without any range, the dimensions are those of the default file whose key was not typed. Raises
    UserError for a malformed range.
    """
    parsed = OverridesParser.create().parse_overrides([quote(each) for each in overrides])
    swept = [override for override in parsed if override.is_sweep_override()]
    plain = [
        unquote(override.input_line or "")
        for override in parsed
        if not override.is_sweep_override()
    ]
    if not swept:
        known = yaml.safe_load(default.read_text(encoding="utf-8"))
        typed = {override.get_key_element() for override in parsed}
        lines = [f"{key}={words}" for key, words in known.items() if key not in typed]
        swept = OverridesParser.create().parse_overrides(lines)
    return plain, [read_dimension(override) for override in swept]


def read_dimension(override: Override) -> Dimension:
    key, value = override.get_key_element(), override.value()
    if not isinstance(value, IntervalSweep):
        choices = tuple(f"{key}={each}" for each in override.sweep_string_iterator())
        return Dimension(key, choices=choices)
    low, high, log = value.start or 0, value.end or 0, "log" in value.tags
    relative = "relative" in value.tags
    require(low < high, key, f"interval({low}, {high})", "the limits must be in ascending order")
    rule = "with log, the limits must be above 0"
    require(low > 0 or not log, key, f"interval({low}, {high})", rule)
    return Dimension(key, low=low, high=high, log=log, relative=relative)
