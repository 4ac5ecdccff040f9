"""What every command shares: a mistake that the user can mend is one line and exit code 2."""

import dis
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Hydra prints its own three-line reports unless this is set, so we set it, and keep for ourselves
# and for the processes that we start whether the user had.
DEBUG = os.environ.setdefault("SER_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0")) == "1"


@contextmanager
def one_line_errors(folder: str | None = None) -> Iterator[None]:
    """Turn errors of configuration, input and files into one sentence on standard error.

    With HYDRA_FULL_ERROR=1 in the environment the traceback is shown instead. `folder` is one
    that Hydra has made for the job; if nothing was put into it, it goes away again, as does what
    is half written when SIGTERM comes.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with leaving_at_sigterm():
            yield
    except (HydraException, OmegaConfBaseException) as error:
        stop(error, sentence(error))
    except (YAMLError, OSError) as error:
        stop(error, str(error))
    except ValueError as error:
        if not is_ours(error):
            raise  # a fault in the code: the traceback is needed
        stop(error, str(error))
    except KeyboardInterrupt as error:
        print(" ".join(["Interrupted.", *map(str, error.args)]), file=sys.stderr)
        sys.exit(130)
    finally:
        if folder is not None:
            with suppress(OSError):  # there is something in it, as there should be
                Path(folder).rmdir()


@contextmanager
def leaving_at_sigterm() -> Iterator[None]:
    """End by SystemExit(143) at SIGTERM, and not on the spot, so that `finally` is kept."""
    if threading.current_thread() is not threading.main_thread():  # which alone takes signals
        yield
        return
    former = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say how to install what an import finds missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise OSError(f"{error.name} is not installed: pip install 'ser[{name}]'") from error


def is_ours(error: Exception) -> bool:
    """Whether a `raise` of this project raised the error, and so means it for the user.

    What a function written in C raises has no frame of its own, but no `raise` in ours either.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not str(trace.tb_frame.f_globals.get("__name__")).startswith("ser."):
        return False
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    return dis.opname[instruction] == "RAISE_VARARGS"


def stop(error: Exception, message: str) -> None:
    if DEBUG:
        raise error
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    sys.exit(2)


def sentence(error: Exception) -> str:
    """One sentence for an error of Hydra or OmegaConf, which names the full key."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be read as key=value; quote odd characters (see --help)."
    if isinstance(error, MissingConfigException) and error.options is not None:
        name, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{name}={option}: there is only {', '.join(sorted(error.options))}."
    cause = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return str(error)
    file = re.match(r"In '([^']+)'", str(error))
    key = f"{file[1]}.yaml: {cause.full_key}" if file else str(cause.full_key)
    if isinstance(cause, MissingMandatoryValue):
        return f"{key} must be given: {key}=... (--help says what it is)."
    if isinstance(cause, ConfigKeyError | AttributeError):
        hint = nearest_key(cause, str(cause.full_key))
        return f"{key} is no setting{hint} (--help lists them all)."
    problem = str(cause).splitlines()[0]
    for kind, words in (("Float", "a number"), ("Integer", "a whole number")):
        failed = rf"Value (.*) of type .* could not be converted to {kind}"
        problem = re.sub(failed, rf"\1 is not {words}", problem)
    return f"{key}: {problem}."


def nearest_key(error: Exception, full_key: str) -> str:
    """A hint at the setting that an unknown key may have meant, or nothing."""
    from omegaconf import DictConfig

    from ser.setting import suggest

    parent = getattr(error, "parent_node", None)
    known = [str(key) for key in parent] if isinstance(parent, DictConfig) else []
    prefix, dot, key = full_key.rpartition(".")
    return suggest(key, known, prefix + dot)
