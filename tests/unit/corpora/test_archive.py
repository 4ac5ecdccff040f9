import stat
import zipfile
from pathlib import Path

import pytest

from ser.corpora import archive
from ser.corpora.archive import is_archive, unpack
from ser.errors import UserError


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def test_a_zip_file_is_unpacked_once(tmp_path):
    path = pack(tmp_path / "a.zip", {"wav/1.wav": b"one", "wav/2.wav": b"two"})
    folder = unpack(path, tmp_path / "out")
    assert (folder / "wav/1.wav").read_bytes() == b"one"
    (folder / "wav/1.wav").write_bytes(b"changed")
    assert unpack(path, tmp_path / "out") == folder
    assert (folder / "wav/1.wav").read_bytes() == b"changed"
    pack(path, {"wav/1.wav": b"another"})
    assert (unpack(path, tmp_path / "out") / "wav/1.wav").read_bytes() == b"another"


def test_what_a_killed_run_left_behind_is_replaced(tmp_path, leftover_of):
    path = pack(tmp_path / "a.zip", {"wav/1.wav": b"one"})
    folder = unpack(path, tmp_path / "out")
    unfinished = leftover_of(folder)
    folder.rename(unfinished)
    (unfinished / "half.wav").write_bytes(b"half")
    assert unpack(path, tmp_path / "out") == folder
    assert [each.name for each in folder.rglob("*.wav")] == ["1.wav"]
    assert not unfinished.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.wav",
        "a/../../evil.wav",
        "/evil.wav",
        "..\\evil.wav",
        "C:\\evil.wav",
        "\\evil.wav",
    ],
)
def test_members_outside_the_folder_are_refused(tmp_path, name):
    path = pack(tmp_path / "a.zip", {"ok.wav": b"ok", name: b"evil"})
    with pytest.raises(UserError, match="not safe"):
        unpack(path, tmp_path / "out")
    assert [each for each in (tmp_path / "out").iterdir() if each.is_dir()] == []


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="not safe"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_bombs_are_refused(tmp_path, monkeypatch):
    path = pack(tmp_path / "a.zip", {"zeros.wav": bytes(50 * 2**20)})
    with pytest.raises(UserError, match="not safe"):
        unpack(path, tmp_path / "out")
    many = pack(tmp_path / "b.zip", {f"{n}.wav": b"x" for n in range(20)})
    monkeypatch.setattr(archive, "MOST_FILES", 10)
    with pytest.raises(UserError, match="20 files"):
        unpack(many, tmp_path / "out")


def test_an_archive_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    path = pack(tmp_path / "a.zip", {"a.wav": b"x" * 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="free"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("cut", [100, 10])
def test_damaged_archives_are_one_message_and_leave_nothing(tmp_path, cut):
    path = pack(tmp_path / "a.zip", {"a.wav": bytes(range(256)) * 40})
    content = bytearray(path.read_bytes())
    content[cut : cut + 20] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip"):
        unpack(path, tmp_path / "out")
    assert [each for each in (tmp_path / "out").iterdir() if each.is_dir()] == []


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_one_message_whatever_the_compression(tmp_path, method):
    path, content = tmp_path / "a.zip", bytes(range(256)) * 40
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("1.wav", content)
    whole = path.read_bytes()
    for place in range(30, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        if not is_archive(path):
            continue
        try:
            folder = unpack(path, tmp_path / "out")
        except UserError:
            continue
        assert [file.read_bytes() for file in folder.rglob("*.wav*")] in ([content], [])


def test_a_name_that_is_not_utf8_is_one_message(tmp_path):
    path = pack(tmp_path / "a.zip", {"é.wav": b"one"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(UserError):
        unpack(path, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_file_replaces_another_of_the_same_name(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("wav/1.wav", b"one")
        opened.writestr("wav/1.wav", b"two")
    with pytest.raises(UserError, match=r"wav/1\.wav"):
        unpack(path, tmp_path / "out")


def test_an_archive_without_files_is_an_empty_folder(tmp_path):
    assert not list(unpack(pack(tmp_path / "a.zip", {}), tmp_path / "out").iterdir())


def test_only_zip_files_are_archives(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 cut")
    assert not is_archive(tmp_path / "a.zip")
    assert not is_archive(tmp_path)
    assert is_archive(pack(tmp_path / "b", {"a": b""}))
