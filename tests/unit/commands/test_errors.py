"""Which exceptions are one line with exit code 2, and which keep their traceback."""

import importlib
import os
import shlex
import signal

import numpy as np
import pytest

from ser.commands.errors import one_line_errors, reporting_stop
from ser.config.fields import require_creatable
from ser.errors import UserError, install_hint, optional_dependency, suggest


@pytest.mark.parametrize(
    "error", [UserError("data.x=1: too small."), FileNotFoundError(2, "No such file", "a.wav")]
)
def test_mistakes_of_users_are_one_line(error, capsys):
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


def test_a_message_of_several_lines_becomes_one(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise UserError("first\nsecond")
    assert capsys.readouterr().err == "error: first second\n"


@pytest.mark.parametrize("error", [ValueError("bug"), OSError("of a library"), KeyError("x")])
def test_bugs_keep_their_traceback(error):
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_errors_of_compiled_code_keep_their_traceback():
    with pytest.raises(ValueError, match="broadcast"), one_line_errors():
        np.add(np.zeros(2), np.zeros(3))


def test_the_empty_folder_of_a_job_is_removed(tmp_path):
    (tmp_path / "run").mkdir()
    with one_line_errors(str(tmp_path / "run")):
        pass
    assert not (tmp_path / "run").exists()


def test_an_interrupt_exits_with_130(capsys):
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise KeyboardInterrupt("To resume: python train.py ckpt=last.ckpt")
    assert caught.value.code == 130
    assert "ckpt=last.ckpt" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_runs_finally_blocks_and_sets_the_exit_code(name, code):
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), getattr(signal, name))
        finally:
            cleaned.append(True)

    with pytest.raises(SystemExit) as caught, one_line_errors():
        work()
    assert caught.value.code == code
    assert cleaned


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_ignored_sighup_stays_ignored_as_nohup_wants_it():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with one_line_errors():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize("code", [130, 143])
@pytest.mark.parametrize("remains", ["To resume: ser train 'ckpt=a b'", ""])
def test_a_stop_is_one_line_with_what_remains(capsys, code, remains):
    stopped = KeyboardInterrupt() if code == 130 else SystemExit(code)
    outer = reporting_stop(lambda: "of an outer block")
    with pytest.raises(SystemExit) as caught, one_line_errors(), outer:  # noqa: SIM117
        with one_line_errors(), reporting_stop(lambda: remains):
            raise stopped
    assert caught.value.code == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(remains)


def test_an_empty_job_folder_is_removed_and_a_filled_one_is_kept(tmp_path):
    for name in ("empty", "filled"):
        (tmp_path / name).mkdir()
    (tmp_path / "filled" / "x").touch()
    for name in ("empty", "filled"):
        with one_line_errors(str(tmp_path / name)):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["filled"]


def test_a_missing_optional_dependency_names_its_requirements(monkeypatch):
    """Never the distribution: that form depends on where it was installed from."""
    listed = ["torch>=2", "silero-vad>=6.2; extra == 'vad'", "ray[data]>=2.5,<3; extra == 'ray'"]
    monkeypatch.setattr("ser.errors.requires", lambda _: listed)
    with pytest.raises(UserError) as caught, optional_dependency("vad"):
        importlib.import_module("no_such_module_anywhere")
    words = shlex.split(str(caught.value).partition(": ")[2])
    assert words[-2:] == ["install", "silero-vad>=6.2"]
    assert shlex.split(install_hint("ray"))[-1] == "ray[data]<3,>=2.5"


def test_the_closest_known_word_is_suggested():
    assert "model.lr" in suggest("lrr", ["lr", "loss"], "model.")
    assert suggest("zzz", ["lr", "loss"]) == ""


def test_a_path_below_a_file_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught, one_line_errors():
        (tmp_path / "file" / "run").mkdir()
    assert caught.value.code == 2
    assert str(tmp_path / "file" / "run") in capsys.readouterr().err
    with pytest.raises(UserError, match="output_dir"):
        require_creatable("output_dir", tmp_path / "file" / "run")
    require_creatable("output_dir", tmp_path / "new" / "run")
