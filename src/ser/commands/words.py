"""Messages for options that were typed as settings (key=value), and the other way round.

`ser train` and `ser evaluate` read settings, the other commands options, and some of them both.
"""

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand

from ser.errors import UserError


class Command(TyperCommand):
    """A command that says how to type a word instead of showing its usage."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        check_words(self.params, args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for each in params:
            if getattr(each, "is_flag", False):
                each.metavar = ""  # typer 0.29 shows <bool>, as if a value had to follow
        return params


def check_words(params: Sequence[Any], words: Sequence[str]) -> None:
    """Raise UserError for the first word of another form than the command takes."""
    options = {name: each for each in params for name in each.opts if name.startswith("--")}
    arguments = {each.name for each in params if each.param_type_name == "argument"}
    before = None
    for word, after in pairwise([*words, ""]):
        if word == "--":
            return
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            if name not in (*options, "--help"):
                refuse_option(name, value or after, arguments)
        elif before is None or before.is_flag:  # else it is the value of an option
            option = f"--{name.replace('_', '-')}"
            if equals and option in options and not os.path.exists(word):  # noqa: PTH110 (any length)
                raise UserError(f"{word}: this command has options; type {option} {value}")
            if not arguments and "--ckpt" in options and not word.startswith("-"):
                raise UserError(f"{word}: name the model with an option; type --ckpt {word}")
        before = None if equals else options.get(word)


def refuse_option(option: str, value: str, arguments: set[str]) -> None:
    """Raise UserError for an unknown option that is an argument or a setting."""
    name = option.removeprefix("--")
    value = "" if "=" in value or value.startswith("-") else value
    if name in arguments:
        raise UserError(f"{option} is not an option of this command; type {value or name} alone")
    if "overrides" in arguments:
        setting = f"{name.replace('-', '_')}={value or '...'}"
        raise UserError(
            f"{option} is not an option; type {setting}. Settings are typed as key=value, without"
            " dashes (`ser train --help` lists them)."
        )
