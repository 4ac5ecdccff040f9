"""`ser train` and `ser evaluate` as Hydra jobs."""

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ser.commands.errors import one_line_errors, reporting_stop, write_utf8
from ser.config.compose import VERSION_BASE, register
from ser.config.keys import find_keys
from ser.config.overrides import CONF, quote, unquote
from ser.config.train import TrainConfig
from ser.errors import UserError
from ser.system.terminal import wrap

Job = Callable[[DictConfig], Any]
# Hydra's options that are followed by a value.
VALUED = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun"),
}
FLAGS = {"--help", "-h", "--hydra-help", "--version", "--resolve"}
# Hydra accepts one of these at a time.
ACTIONS = {
    *("--run", "-r", "--multirun", "-m", "--cfg", "-c", "--info", "-i"),
    *("--shell-completion", "-sc"),
}


def launch(name: str, kind: type, words: list[str], job: Job) -> None:
    """Run a job with the config called `name`, of this dataclass, once or as a sweep.

    Hydra reads `sys.argv`, where the arguments are quoted for it. Inside the job it is as typed:
    Lightning starts further processes from it.
    """
    typed, working_folder = sys.argv, Path.cwd()

    @wraps(job)
    def run(composed: DictConfig) -> Any:
        sys.argv = typed
        folder = HydraConfig.get().runtime.output_dir  # the working folder for `ser evaluate`
        with one_line_errors(None if Path(folder) == working_folder else folder, kind):
            refuse_chdir()
            return job(composed)

    write_utf8()
    with one_line_errors(kind=kind), reporting_stop(str), hydra_on_python_3_14():
        register()
        main = hydra.main(version_base=VERSION_BASE, config_path=str(CONF), config_name=name)(run)
        sys.argv = [typed[0], *arrange(words, kind)]
        try:
            with wrapping_help(words):
                main()
        finally:
            sys.argv = typed


@contextmanager
def wrapping_help(words: list[str]) -> Iterator[None]:
    """Wrap the lines of `--help` on a terminal: Hydra writes the options of a group in one line."""
    if not ({"--help", "-h"} & set(words) and sys.stdout.isatty()):
        yield
        return
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            yield
    finally:
        print(wrap(text.getvalue(), sys.stdout, "  "), end="")


def arrange(words: list[str], kind: type = TrainConfig) -> list[str]:
    """The arguments for Hydra: options first, then the overrides, quoted.

    argparse does not accept `-m` and other options between the overrides. Raises UserError for an
    option that Hydra does not have, with the name of a setting of `kind` like it.
    """
    options, overrides, left = [], [], iter(words)
    for word in left:
        if not word.startswith("-"):
            overrides.append(quote(word))
            continue
        option, _, value = word.partition("=")
        if option not in VALUED | FLAGS | ACTIONS:
            raise UserError(describe_setting(option, value or next(left, ""), kind))
        options.append(word)
        if word in VALUED:
            options += islice(left, 1)
    actions = [word for word in options if word.partition("=")[0] in ACTIONS]
    if len(actions) > 1:
        raise UserError(f"{' and '.join(actions)} cannot be used together")
    return [*options, *overrides]


def describe_setting(option: str, value: str, kind: type) -> str:
    """The message for a setting of `kind` that was typed as an option."""
    found = find_keys(option.lstrip("-").replace("-", "_"), kind)
    value = "..." if not value or "=" in value or value.startswith("-") else value
    advice = f"; type {' or '.join(f'{key}={value}' for key in found)}" if found else ""
    return (
        f"{option} is not an option{advice}. Settings are typed as key=value, without dashes"
        " (--help lists them)."
    )


def typed_overrides() -> list[str]:
    """The overrides of this job as typed; call inside a job."""
    return [unquote(override) for override in HydraConfig.get().overrides.task]


def refuse_chdir() -> None:
    """Raise UserError for hydra.job.chdir=true; call inside a job."""
    if HydraConfig.get().job.chdir:
        raise UserError(
            "hydra.job.chdir=true: relative paths are relative to the folder in which the command"
            " was typed, so a job cannot change it; leave it out"
        )


@contextmanager
def hydra_on_python_3_14() -> Iterator[None]:
    """Let argparse of Python 3.14 accept Hydra's help text that is not a string.

    Hydra 1.3 passes an object whose text is computed when it is printed, and Python 3.14 checks
    help texts when an argument is added (docs/workarounds.md).
    """
    check: Any = getattr(argparse.ArgumentParser, "_check_help", None)
    if check is None:
        yield
        return

    def check_strings(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(parser, action)

    patched: Any = argparse.ArgumentParser
    patched._check_help = check_strings
    try:
        yield
    finally:
        patched._check_help = check
