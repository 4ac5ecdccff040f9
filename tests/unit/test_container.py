"""The Dockerfiles, as far as they can be checked without an engine: a linter, and what they copy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
both = pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])


@both
def test_the_linter_has_no_findings(name):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / name], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@both
def test_copied_files_exist_and_are_not_ignored(name):
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / name).read_text(), re.MULTILINE)
    names = [each for line in copied for each in line.split()]
    assert {"src", "conf", "requirements", "pyproject.toml"} <= set(names)
    included = (ROOT / ".dockerignore").read_text().splitlines()
    for each in names:
        assert (ROOT / each).exists()
        assert f"!{each}" in included


@both
def test_containers_do_not_run_as_root(name):
    final = (ROOT / name).read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d+$", final, re.MULTILINE)
