"""What a search chooses from, in the words of Hydra's sweeps: `a,b`, `range`, `interval`."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from ser.setting import require


@dataclass(frozen=True)
class Dimension:
    """One setting to be searched: the choices as typed, or else a range of numbers."""

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    @property
    def whole(self) -> bool:
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def sample(self) -> str:
        """A setting of this dimension, to try whether it is one at all."""
        return self.choices[0] if self.choices else f"{self.key}={self.low}"


def read_space(overrides: list[str], default: Path) -> tuple[list[str], list[Dimension]]:
    """The plain overrides, and the dimensions among them, or those of the default file.

    Raises ValueError for a range that is none.
    """
    parsed = OverridesParser.create().parse_overrides(overrides)
    swept = [override for override in parsed if override.is_sweep_override()]
    plain = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
    if not swept:
        known = yaml.safe_load(default.read_text())
        typed = {override.get_key_element() for override in parsed}
        lines = [f"{key}={words}" for key, words in known.items() if key not in typed]
        swept = OverridesParser.create().parse_overrides(lines)
    return plain, [read_dimension(override) for override in swept]


def read_dimension(override: Override) -> Dimension:
    key, value = override.get_key_element(), override.value()
    if not isinstance(value, IntervalSweep):
        return Dimension(
            key, choices=tuple(f"{key}={each}" for each in override.sweep_string_iterator())
        )
    low, high, log = value.start or 0, value.end or 0, "log" in value.tags
    require(low < high, key, f"interval({low}, {high})", "must rise")
    require(low > 0 or not log, key, f"interval({low}, {high})", "must be above 0 for log")
    return Dimension(key, low=low, high=high, log=log)
