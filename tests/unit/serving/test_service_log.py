"""Logs as lines of JSON."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from ser.serving import logs

LINES = """
import logging, sys, warnings
from ser.serving.logs import LOG, log_as_json
log_as_json()
LOG.info("first", extra={"facts": {"number": 1}})
other = logging.getLogger("other")
other.addHandler(logging.StreamHandler())
other.propagate = False
log_as_json()
other.warning("second %s", "line\\nbreak")
other.info("not shown")
warnings.warn("third")
LOG.info("fourth \\udcff \\u2028 \\u65e5")
try:
    1 / 0
except ZeroDivisionError:
    LOG.exception("fifth")
"""


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_every_line_is_json_whoever_logs_and_whatever_the_terminal(encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", LINES]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    lines = [json.loads(line) for line in done.stderr.decode("ascii").splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "info", "error"]
    assert lines[0]["number"] == 1
    assert lines[1]["message"] == "second line\nbreak"
    assert "third" in lines[2]["message"]
    assert "\u65e5" in lines[3]["message"]
    assert "ZeroDivisionError" in lines[4]["traceback"]


BAD_TEXT = """
import logging
from ser.serving.logs import log_as_json
log_as_json()
try:
    bytes([255]).decode()
except UnicodeDecodeError:
    logging.getLogger("uvicorn.error").exception("from a client")
"""


def test_text_of_a_client_that_is_not_utf8_is_no_failure_of_the_service():
    command = [sys.executable, "-c", BAD_TEXT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["level"] == "warning"
    assert "traceback" not in line


def test_the_log_imports_nothing_heavy():
    code = "import sys, ser.serving.logs; print(sorted({'torch', 'numpy', 'fastapi'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NATIVE = """
import os, sys, time
from ser.serving.logs import LOG, catch_native_output, log_as_json
catch_native_output()
log_as_json()
for number in range(100_000):
    os.write(2, b"[layer3.c] error\\n")
time.sleep(1.2)
os.write(2, b"another\\n")
time.sleep(1.5)
LOG.info("last")
print("error: to the user", file=sys.stderr)
"""


def test_what_native_libraries_print_is_logged_and_never_floods_the_log():
    done = subprocess.run(
        [sys.executable, "-c", NATIVE], capture_output=True, text=True, check=True
    )
    *lines, last = done.stderr.splitlines()
    assert last == "error: to the user"
    entries = [json.loads(line) for line in lines]
    assert entries[-1]["message"] == "last"
    assert entries[0]["text"] == "[layer3.c] error"
    assert 2 <= len(entries) < 20
    assert sum(entry.get("lines", 0) for entry in entries) == 100_001


def test_what_native_libraries_print_is_logged_without_waiting_for_more(monkeypatch):
    logged = []
    monkeypatch.setattr(logs.LOG, "warning", lambda _, extra: logged.append(extra["facts"]))
    reading, writing = os.pipe()
    thread = threading.Thread(target=logs.relay, args=[reading, 0.3])
    thread.start()
    os.write(writing, b"first\n")
    time.sleep(0.1)
    os.write(writing, b"second\nthird\n")
    deadline = time.monotonic() + 10
    while len(logged) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.close(writing)
    thread.join(10)
    assert logged == [{"text": "first", "lines": 1}, {"text": "second", "lines": 2}]
