"""Error handling of every command: one line and exit code 2, or the traceback of a bug."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from ser.config.keys import list_keys, suggest_key
from ser.config.train import TrainConfig
from ser.errors import UserError, first_line
from ser.system.signals import STOP_SIGNALS
from ser.system.terminal import wrap

# Hydra prints its own reports of several lines unless HYDRA_FULL_ERROR is set, so we set it.
# SER_FULL_ERROR keeps what the user asked for, also for the processes that we start.
DEBUG = os.environ.setdefault("SER_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0")) == "1"


@contextmanager
def one_line_errors(folder: str | None = None, kind: type = TrainConfig) -> Iterator[None]:
    """Report errors of configuration, input and environment as one line on standard error.

    Any other exception is a bug and keeps its traceback. With HYDRA_FULL_ERROR=1 in the
    environment every error shows its traceback. `folder` is the folder that Hydra created for the
    job; it is removed if it is still empty at the end. `kind` is the config in which keys are
    looked up.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with exit_on_signals():
            yield
    except (HydraException, OmegaConfBaseException) as error:
        stop(error, describe(error, kind))
    except (UserError, YAMLError) as error:
        stop(error, str(error))
    except BrokenPipeError:  # the reader of our output, for example `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno is None:  # raised by a library, not by the operating system
            raise
        if isinstance(error, NotADirectoryError):
            stop(error, f"{error.filename}: a part of this path is a file; name a folder")
        stop(error, str(error))
    except KeyboardInterrupt as error:
        exit_interrupted(error)
    finally:
        if folder is not None:
            with suppress(OSError):  # not empty
                Path(folder).rmdir()


def exit_interrupted(error: KeyboardInterrupt) -> NoReturn:
    """Exit after Ctrl-C with the message of the error, if it has one."""
    print(" ".join(["Interrupted.", *map(str, error.args)]).strip(), file=sys.stderr)
    sys.exit(130)


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise SystemExit(128 + number) at SIGTERM and SIGHUP, so that `finally` blocks run.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # only it receives signals
        yield
        return
    handled = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    former = {
        number: signal.signal(number, lambda number, _: sys.exit(128 + number))
        for number in handled
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def reporting_stop(find: Callable[[], str]) -> Iterator[None]:
    """Say what remains, and how to continue, if Ctrl-C or a signal stops the block."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(*(error.args or [find()])) from None
    except SystemExit as error:
        report_signal(error, find())
        raise


def report_signal(error: SystemExit, remains: str = "") -> None:
    """Print one line for the exit code of a signal, once for each error."""
    names = {128 + number: number.name for number in STOP_SIGNALS}
    if error.code in names and not getattr(error, "reported", False):
        print(f"Stopped by {names[error.code]}. {remains}".strip(), file=sys.stderr)
        vars(error)["reported"] = True


def write_utf8() -> None:
    """Let standard output and standard error take any text.

    Files and pipes are UTF-8. A terminal keeps its encoding and shows `?` for what it lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not under pytest or in a notebook
            terminal = stream.isatty()
            stream.reconfigure(encoding=None if terminal else "utf-8", errors="replace")


def stop(error: Exception, message: str) -> None:
    if DEBUG:
        raise error
    words = " ".join(message.split())
    line = f"error: {words if words.endswith('...') else words.removesuffix('.')}"
    print(wrap(line, sys.stderr), file=sys.stderr, flush=True)
    sys.exit(2)


def describe(error: Exception, kind: type = TrainConfig) -> str:
    """One line for an error of Hydra or OmegaConf. It names the full key."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue

    if isinstance(error, OverrideParseException):
        if os.path.exists(error.override):  # noqa: PTH110 (any length)
            return f"{error.override} is no setting; did you mean ckpt={error.override}?"
        typed = error.override or "an empty argument"
        return f"{typed} is not of the form key=value, or its value is malformed."
    if isinstance(error, MissingConfigException) and error.options is not None:
        name, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{name}={option}: {suggest_option(option, error.options)}."
    cause = find_cause(error)
    if cause is None:
        return explain_several(str(error), kind) or str(error)
    file = re.match(r"In '([^']+)'", str(error))
    key = f"{file[1]}.yaml: {cause.full_key}" if file else str(cause.full_key)
    if isinstance(cause, MissingMandatoryValue):
        return f"{key} is required: add {key}=... (--help explains it)."
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        hint = suggest_key(str(cause.full_key), kind)
        return f"{key} is not a setting{hint} (--help lists all settings)."
    problem = first_line(cause)
    if re.fullmatch(r"Cannot (assign .* to Dict.*|merge DictConfig with ListConfig.*)", problem):
        return f"{key} needs a mapping: set {key}.NAME=VALUE, or '{key}={{NAME: VALUE}}'."
    if re.search(r"(str|int|float|bool) is not a ListConfig, list or tuple", problem):
        return f"{key} needs a list: set '{key}=[VALUE,...]'."
    for name, words in (("Float", "a number"), ("Integer", "a whole number")):
        failed = rf"Value (.*) of type .* could not be converted to {name}"
        problem = re.sub(failed, rf"\1 is not {words}", problem)
    return f"{key}: {problem.rstrip('.')}."


def explain_several(message: str, kind: type) -> str:
    """What to type for `key=a,b` without a sweep, or "" for another message of Hydra."""
    found = re.match(r"Ambiguous value for argument '(.+?)=(.+?)'\n", message)
    if found is None:
        return ""
    key, values = found.groups()
    listed = "data.corpora" if key == "data" else key
    advice = f", or set '{listed}=[{values}]' for a list" if listed in list_keys(kind) else ""
    return f"{key}={values}: add -m for a sweep{advice}."


def suggest_option(typed: str, options: Iterable[str]) -> str:
    """What to choose instead of an option that a group does not have."""
    near = get_close_matches(typed.lower().replace("-", "_"), options := sorted(options), n=1)
    hint = f"did you mean {near[0]}? The others are " if near else "choose one of "
    return hint + ", ".join(each for each in options if each not in near)


def find_cause(error: BaseException | None) -> Any:
    """The error of OmegaConf behind one of Hydra, or None."""
    from omegaconf.errors import OmegaConfBaseException

    while error is not None and not isinstance(error, OmegaConfBaseException):
        error = error.__cause__ or error.__context__
    return error
