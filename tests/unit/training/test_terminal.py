"""What a person sees of training, in a pseudo-terminal and in a log file."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

# Two epochs of the callbacks of a run, with log messages between the batches. Stand-ins for Lightning
# let the program start at once.
PROGRAM = """
import logging, sys, time
from types import ModuleType, SimpleNamespace
for name in ("lightning", "lightning.pytorch", "lightning.pytorch.callbacks"):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].Trainer = sys.modules[name].Callback = object
logging.basicConfig(level="INFO", stream=sys.stdout)
from ser.system.terminal import LogFormatter
logging.getLogger().handlers[0].setFormatter(LogFormatter())
from ser.training.callbacks.progress import EpochLog, ProgressBar
optimizer = SimpleNamespace(param_groups=[{"lr": 0.5}])
trainer = SimpleNamespace(
    is_global_zero=True, sanity_checking=False, max_epochs=2, current_epoch=0, global_step=0,
    num_training_batches=3, num_val_batches=[2], optimizers=[optimizer], callback_metrics={},
)
module = SimpleNamespace(train_loss=2.0)
callbacks = [EpochLog("val/uar"), ProgressBar()]
def call(name, *arguments):
    for callback in callbacks:
        if hasattr(callback, name):
            getattr(callback, name)(trainer, module, *arguments)
call("on_train_start")
for trainer.current_epoch in range(2):
    call("on_train_epoch_start")
    for batch in range(3):
        call("on_train_batch_end", None, None, batch)
        trainer.global_step += 1
        time.sleep(0.15)
        logging.info("message %d of [ravdess]", trainer.global_step)
    call("on_validation_start")
    call("on_validation_batch_end", None, None, 0)
    uar = (0.25, 0.2)[trainer.current_epoch]
    trainer.callback_metrics = {"val/loss": 1.5, "val/accuracy": 0.5, "val/uar": uar}
    call("on_validation_end")
call("teardown", "fit")
print("the end", flush=True)
"""


def run_in_terminal(columns: int, *command: str) -> str:
    """All that a program writes to a terminal of so many columns; by default PROGRAM."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "CI")}
    process = subprocess.Popen(
        [sys.executable, *(command or ("-c", PROGRAM))],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment | {"TERM": "xterm-256color"},
    )
    os.close(child)
    written = b""
    while True:
        try:
            more = os.read(parent, 65536)
        except OSError:  # the program has ended
            break
        if not more:
            break
        written += more
    os.close(parent)
    assert process.wait() == 0, written.decode()
    return written.decode()


def display(written: str) -> list[str]:
    """The lines on the screen and in the scrollback after the control sequences have acted."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif piece.startswith("\x1b["):
            if piece.endswith("K"):
                lines[row] = ""
            elif piece.endswith("A"):
                row -= int(piece[2:-1] or 1)
        else:
            lines[row] = (
                lines[row][:column].ljust(column) + piece + lines[row][column + len(piece) :]
            )
            column += len(piece)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="no pseudo-terminals here")
@pytest.mark.parametrize("columns", [80, 120])
def test_log_lines_survive_the_progress_bar(columns):
    written = run_in_terminal(columns)
    lines = display(written)
    text = " ".join(lines)
    assert [line[9:] for line in lines if " message" in line] == [
        f"message {number} of [ravdess]" for number in range(1, 7)
    ]
    epochs = [line for line in lines if "epoch" in line]
    assert len(epochs) == 2  # each on one line
    for line in epochs:  # the second epoch is worse
        assert re.search(r"2\.000.*1\.500.* UAR 0\.\d+, best 0\.250", line)
        assert ("lr" in line) == ("accuracy 0.500" in line) == (columns > 80)
    assert lines[-1] == "the end"
    assert "━" in written  # the bar was drawn,
    assert "━" not in text  # and nothing of it is left
    assert max(map(len, lines)) <= columns


def test_a_log_file_has_one_line_per_epoch_and_no_bar():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    epochs = [line for line in done.stdout.splitlines() if "epoch" in line]
    assert len(epochs) == 2
    assert "━" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="no pseudo-terminals here")
@pytest.mark.parametrize("columns", [60, 100])
def test_the_settings_fit_on_a_terminal(columns):
    lines = run_in_terminal(columns, "-m", "ser", "train", "--help").splitlines()
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("backbone: ") for line in lines)
