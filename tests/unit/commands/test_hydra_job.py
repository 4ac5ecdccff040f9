import argparse
import sys

import pytest

from ser.commands.hydra_job import arrange, hydra_on_python_3_14
from ser.errors import UserError


class LazyHelp:
    """As Hydra 1.3 does it: a help text that is computed when it is printed."""

    def __repr__(self) -> str:
        return "help"


def add_lazy_argument() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lazy", action="store_true", help=LazyHelp())  # pyright: ignore[reportArgumentType]
    return parser


def test_options_come_first_wherever_they_are_typed():
    words = ["data=ravdess", "-m", "seed=1,2", "--config-dir", "a=b", "output_dir=größe"]
    assert arrange(words) == [
        *("-m", "--config-dir", "a=b", "data=ravdess", "seed=1,2", "output_dir='größe'"),
    ]


def test_contradicting_options_are_refused():
    with pytest.raises(UserError, match="--cfg"):
        arrange(["-m", "seed=1,2", "--cfg", "job"])


@pytest.mark.parametrize(
    ("typed", "setting"),
    [("--lr", "model.lr"), ("--learning-rate=1e-5", "model.lr"), ("--ckpt", "ckpt")],
)
def test_a_setting_typed_as_an_option_is_refused_and_named(typed, setting):
    with pytest.raises(UserError, match=rf"{setting}\b"):
        arrange(["data=ravdess", typed, "1e-5"])


def test_a_lazy_help_text_is_accepted_and_malformed_ones_are_still_found():
    with hydra_on_python_3_14():
        assert add_lazy_argument().parse_args(["--lazy"]).lazy
        if sys.version_info >= (3, 14):
            with pytest.raises(ValueError, match="help string"):
                argparse.ArgumentParser().add_argument("--x", help="%(nothing)s")


def test_nothing_stays_patched():
    before = getattr(argparse.ArgumentParser, "_check_help", None)
    with hydra_on_python_3_14():
        pass
    assert getattr(argparse.ArgumentParser, "_check_help", None) is before


@pytest.mark.skipif(sys.version_info < (3, 14), reason="older versions do not check help texts")
def test_hydra_still_needs_the_workaround():
    """If this fails, Hydra has changed: remove the workaround and its entry in the docs."""
    from hydra._internal.utils import get_args_parser

    with pytest.raises((TypeError, ValueError)):
        get_args_parser()
