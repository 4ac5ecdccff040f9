import io
import logging

import pytest

from ser.system.terminal import LogFormatter, show_logs, wrap

PATH = "/a/path/that/is/much/longer/than/a/narrow-line.wav"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")


def test_a_terminal_gets_lines_broken_between_words():
    text = f"the words of a sentence stay whole, and so does {PATH} here"
    lines = wrap(text, Terminal(), "  ").splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= 30 for line in lines if PATH not in line)
    assert all(line.startswith("  ") for line in lines[1:])


def test_a_file_gets_one_line():
    text = "word " * 30
    assert wrap(text, io.StringIO()) == text


def test_a_log_in_a_file_has_one_line_per_message_beside_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    record = logging.makeLogRecord({"msg": "word " * 30})
    assert len(LogFormatter(io.StringIO()).format(record).splitlines()) == 1
    assert len(LogFormatter().format(record).splitlines()) > 1


def test_a_warning_is_shown_once(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    show_logs("ser.informative")
    for _ in range(2):
        logging.getLogger("ser.any").warning("SAVEE has %d speakers", 4)
        logging.getLogger("ser.informative").info("trial")
    shown = capsys.readouterr().err.replace("\n", " ")
    assert shown.count("SAVEE") == 1
    assert shown.count("trial") == 2
