"""The names that `ser` exports, and how it is imported."""

import importlib
import subprocess
import sys

import pytest

import ser


@pytest.mark.parametrize("name", ser.__all__)
def test_every_exported_name_is_that_of_its_module(name):
    if name in ser.HOMES:
        home = importlib.import_module(ser.HOMES[name])
        assert getattr(ser, name) is getattr(home, name)
        assert getattr(ser, name).__module__ == home.__name__


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, ser; print([m for m in ('torch', 'lightning', 'hydra') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_exports_and_their_homes_agree():
    assert {*ser.HOMES, "__version__"} == set(ser.__all__)
    assert set(ser.__all__) <= set(dir(ser))


def test_metrics_of_plain_lists():
    from ser.metrics import score

    scores = score([0, 1, 1, 2], [0, 1, 2, 2], ["a", "b", "c"])
    assert scores.accuracy == 0.75
    assert scores.uar == pytest.approx((1 + 1 / 2 + 1) / 3)
