"""What is a mistake of the user, and what a fault in the code."""

import os
import subprocess
import sys

import pytest

from ser import losses, splits
from ser.errors import is_ours
from ser.model_config import ModelConfig


def test_what_we_raise_is_for_the_user():
    with pytest.raises(ValueError, match="leaves no emotion") as caught:
        losses.weigh_classes(ModelConfig(class_weights={"sad": 0, "happy": 1}), ["sad"], ["sad"])
    assert is_ours(caught.value)


def test_what_a_function_in_c_raises_below_us_is_a_fault():
    """`max([])` and the like have no frame of their own."""
    source = "def fail():\n    return max([])\n"
    scope = {"__name__": splits.__name__}
    exec(source, scope)
    with pytest.raises(ValueError, match="empty") as caught:
        scope["fail"]()  # pyright: ignore
    assert not is_ours(caught.value)


@pytest.mark.parametrize(("asked", "shown"), [("0", "False"), ("1", "True")])
def test_processes_that_we_start_know_whether_tracebacks_were_asked_for(asked, shown):
    code = (
        "import subprocess, sys\nfrom ser.errors import one_line_errors\n"
        "with one_line_errors():\n"
        " subprocess.run([sys.executable, '-c', 'from ser.errors import DEBUG; print(DEBUG)'])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "SER_FULL_ERROR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HYDRA_FULL_ERROR": asked},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == shown
