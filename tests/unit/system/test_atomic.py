import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser.system import atomic
from ser.system.atomic import draft_of, replacing, replacing_path, write_text, writing_folder

# Writes half a file, says so, and waits to be killed.
HALF = """
import sys, time
from pathlib import Path
from ser.system.atomic import replacing_path
with replacing_path(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""


def leave_half(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HALF, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def test_a_file_is_complete_or_as_before(tmp_path):
    path = tmp_path / "größe.txt"
    write_text(path, "old")
    with replacing_path(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"
    with pytest.raises(FileNotFoundError), replacing_path(path):
        pass  # nothing was written
    assert [each.name for each in tmp_path.iterdir()] == ["größe.txt"]
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot tell whether a process is alive")
def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_kept(tmp_path):
    path = tmp_path / "out.csv"
    killed, alive = leave_half(path), leave_half(path)
    killed.kill()
    killed.wait()
    write_text(tmp_path / "other.csv", "unrelated")
    assert len(list(tmp_path.glob(".out.csv.*.tmp"))) == 2
    write_text(path, "whole")
    assert len(list(tmp_path.glob(".out.csv.*.tmp"))) == 1
    alive.kill()
    alive.wait()
    draft_of(path)
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["other.csv", "out.csv"]


def test_drafts_of_other_machines_are_removed_after_a_week(tmp_path):
    path = tmp_path / "out.csv"
    drafts = [tmp_path / f".out.csv.00000000-{number}-abcdef.tmp" for number in (1, 2)]
    for draft in drafts:
        draft.touch()
    week = time.time() - 8 * 86_400
    os.utime(drafts[0], (week, week))
    draft_of(path)
    assert list(tmp_path.iterdir()) == [drafts[1]]


def test_folders_are_leftovers_too(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", "import sys; from pathlib import Path; from ser.system.atomic import"
         " draft_of; draft_of(Path(sys.argv[1])).mkdir()", tmp_path / "exported"],
    )  # fmt: skip
    assert process.returncode == 0
    assert len(list(tmp_path.iterdir())) == 1
    draft_of(tmp_path / "exported")
    assert len(list(tmp_path.iterdir())) == (1 if os.name == "nt" else 0)


def test_long_names_can_be_written(tmp_path):
    write_text(tmp_path / ("x" * 250), "text")
    assert [len(each.name) for each in tmp_path.iterdir()] == [250]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o644)])
def test_a_private_file_is_never_readable_by_others(tmp_path, monkeypatch, private, mode):
    monkeypatch.setattr(atomic, "UMASK", 0o022)
    path = tmp_path / "voice.json"
    former = os.umask(0o022)
    try:
        with replacing(path, private=private) as file:
            written = os.fstat(file.fileno()).st_mode
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert not private or stat.S_IMODE(written) == mode


@pytest.mark.parametrize("named", [False, True])
def test_a_full_disk_is_reported_with_the_name_of_the_file(tmp_path, named):
    path = tmp_path / "report.csv"
    path.write_text("before")
    with pytest.raises(OSError, match=r"report\.csv") as caught, replacing_path(path) as draft:
        raise OSError(errno.ENOSPC, "full", *([str(draft)] if named else []))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"), replacing_path(tmp_path / "x"):
        (tmp_path / "missing").read_text()


def test_a_folder_is_complete_or_absent_and_a_full_disk_names_it(tmp_path, leftover_of):
    folder = tmp_path / "corpus"
    leftover_of(folder).mkdir()
    (leftover_of(folder) / "half").touch()
    full = errno.ENOSPC
    with pytest.raises(OSError, match="corpus") as caught, writing_folder(folder) as new:
        raise OSError(full, "full", str(new / "2.wav"))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(folder))
    assert not list(tmp_path.iterdir())
    with writing_folder(folder) as new:
        (new / "1.wav").touch()
    assert list(tmp_path.rglob("*")) == [folder, folder / "1.wav"]


def test_a_read_only_disk_is_reported_with_the_name_of_the_file(tmp_path, monkeypatch):
    """Every call fails there, also the removal of a draft that was never created."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match=r"report\.csv") as caught:
        write_text(tmp_path / "report.csv", "text")
    assert caught.value.filename == str(tmp_path / "report.csv")
