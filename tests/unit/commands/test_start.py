"""Ctrl-C while a command imports its modules."""

import os
import signal
import subprocess
import sys

import pytest

START = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
BLOCK = "from ser.__main__ import quiet_imports\nwith quiet_imports():\n    "


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupt_during_imports_shows_no_traceback():
    code = START + BLOCK + "os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert done.stderr == b""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_background_job_still_ignores_interrupts():
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code = START + ignored + BLOCK + "os.kill(os.getpid(), signal.SIGINT)\nprint('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"done")


def test_an_interrupt_is_an_exception_again_after_the_imports():
    code = (
        START + BLOCK + "pass\nassert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
