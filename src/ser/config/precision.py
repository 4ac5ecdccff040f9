"""The names of numeric precisions, the same in all commands and settings."""

from enum import StrEnum

from ser.errors import UserError


class Precision(StrEnum):
    """What a network computes in. `auto`: bf16 if it is fast and accurate enough, else fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"

    @classmethod
    def _missing_(cls, value: object) -> "Precision | None":
        return ALIASES.get(str(value))


# Names of earlier versions and of Lightning.
ALIASES = {
    **dict.fromkeys(("32", "32-true"), Precision.fp32),
    **dict.fromkeys(("bf16-mixed", "bf16-true"), Precision.bf16),
    **dict.fromkeys(("16", "16-mixed", "16-true"), Precision.fp16),
}
# What Lightning calls them. Training keeps its weights in fp32.
LIGHTNING = {
    Precision.fp32: "32-true",
    Precision.bf16: "bf16-mixed",
    Precision.fp16: "16-mixed",
}


def name_precision(name: str) -> str:
    """Our name of a precision of training; any other name as it is.

    Lightning's bf16-true and 16-true train weights of that precision, for which we have no name.
    """
    return name if name.endswith("16-true") else str(ALIASES.get(name, name))


def parse_precision(name: str, key: str) -> Precision:
    """The precision of a name or alias. Raises UserError, which names the key, for any other."""
    try:
        return Precision(name)
    except ValueError as error:
        raise UserError(f"{key}={name}: choose one of {', '.join(Precision)}") from error
