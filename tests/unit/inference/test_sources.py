import io
import os
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from ser.errors import UserError
from ser.inference.sources import EmbeddedRecording, count, find_all, read_input


@pytest.fixture
def folder(tmp_path, write_tone) -> Path:
    for name in ("b.wav", "a.flac", "deep/c.WAV", ".hidden/d.wav", "._e.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("no audio")
        else:
            write_tone(tmp_path / name, format="FLAC" if name.endswith("flac") else "WAV")
    return tmp_path


def names(*arguments: str | Path) -> list[str]:
    return [str(found) for found in find_all(map(str, arguments))]


def test_a_folder_gives_its_audio_files_in_order(folder):
    assert names(folder) == [str(folder / name) for name in ("a.flac", "b.wav", "deep/c.WAV")]


def test_skipped_files_of_a_folder_are_counted_by_suffix(folder, caplog):
    for name in ("more.txt", "page.HTML", "README", ".hidden/x.txt"):
        (folder / name).write_text("no audio")
    assert len(names(folder)) == 3
    hidden, record = caplog.records
    assert "2 recordings" in hidden.message
    assert "4 files" in record.message  # hidden files do not count
    assert "2 .txt" in record.message


@pytest.mark.parametrize(
    "suffix", ["m4a", "MP4", "webm", "3gp", "amr", "wma", "aac", "opus", "mkv"]
)
def test_files_of_phones_and_browsers_are_found_in_a_folder(tmp_path, suffix):
    (tmp_path / f"memo.{suffix}").write_bytes(b"x")
    assert names(tmp_path) == [str(tmp_path / f"memo.{suffix}")]


def test_arguments_keep_their_order(folder):
    wanted = [folder / "b.wav", folder / "a.flac"]
    assert names(*wanted) == [str(path) for path in wanted]


def test_a_glob_gives_its_matches_sorted(folder):
    assert names(folder / "*.[wf]*") == [str(folder / "a.flac"), str(folder / "b.wav")]
    assert names(folder / "**" / "*.WAV") == [str(folder / "deep" / "c.WAV")]


def test_missing_names_are_returned_unchanged(folder):
    assert names(folder / "none.wav", folder / "none*.wav") == [
        str(folder / "none.wav"),
        str(folder / "none*.wav"),
    ]
    empty = folder / "empty"
    empty.mkdir()
    assert names(empty) == [str(empty)]


def test_a_file_named_like_a_glob_is_that_file(folder, write_tone):
    odd = write_tone(folder / "take[1].wav")
    assert names(odd) == [str(odd)]


WRITERS = {
    "table.csv": lambda frame, path: frame.to_csv(path, index=False),
    "table.TSV": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "semicolons.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "utf16.tab": lambda frame, path: frame.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "table.parquet": lambda frame, path: frame.to_parquet(path),
    "table.xlsx": lambda frame, path: frame.to_excel(path, index=False),
    "table.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("column", ["path", "PATH", "file_name", "File Name"])
def test_tables_of_any_format_name_files_beside_them_or_elsewhere(folder, name, column):
    pytest.importorskip("openpyxl") if name.endswith("xlsx") else None
    frame = pd.DataFrame({"speaker": ["x", "y"], column: ["b.wav", "/elsewhere/z.wav"]})
    WRITERS[name](frame, folder / name)
    assert names(folder / name) == [str(folder / "b.wav"), "/elsewhere/z.wav"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"emotion,speaker\nsad,x\n"),
        ("a.csv", b""),
        ("a.csv", b"path,start\nx.wav,\ny.wav,0.5\n"),
        ("a.csv", b"path,Path\nx.wav,y.wav\n"),
        ("a.csv", b'path,text\nx.wav,"open\ny.wav,"so"\n'),
        ("a.csv", b"path,text\nx.wav,a,b\n"),
        ("a.parquet", b"PAR1nothing"),
        ("a.xlsx", b"PK\3\4nothing"),
        ("a.jsonl", b'{"path": \n'),
    ],
)
def test_a_table_that_cannot_be_read_is_one_message(tmp_path, name, content):
    pytest.importorskip("openpyxl")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        names(tmp_path / name)


def test_unmatched_quotes_lose_no_recording(folder):
    rows = [f"{n}.wav\thello" for n in range(98)]
    rows[20], rows[45] = '20.wav\t"So what?', '45.wav\t"Why not?'
    (folder / "cv.tsv").write_text("\n".join(["path\tsentence", *rows]))
    assert [Path(name).name for name in names(folder / "cv.tsv")] == [f"{n}.wav" for n in range(98)]


def test_rows_without_a_path_are_skipped_and_counted(folder, caplog):
    (folder / "t.csv").write_text("path,text\nb.wav,x\nNA,y\n,z\n")
    assert names(folder / "t.csv") == [str(folder / "b.wav")]
    assert "2 rows" in caplog.text


def test_paths_are_relative_to_the_table_or_the_working_directory(
    folder, tmp_path_factory, monkeypatch
):
    monkeypatch.chdir(folder)
    table = tmp_path_factory.mktemp("tables") / "t.csv"
    table.write_text("path\nb.wav\ndeep\\c.WAV\nnone.wav\n")
    expected = [folder / "b.wav", folder / "deep/c.WAV", table.parent / "none.wav"]
    assert names(table) == [str(path) for path in expected]


def test_recordings_inside_a_table_are_named_by_row(folder):
    content = (folder / "b.wav").read_bytes()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = [
        {"bytes": content, "path": "memo.wav"},
        {"bytes": None, "path": str(folder / "a.flac")},
    ]
    parquet.write_table(pa.table([pa.array(audio, kind)], names=["audio"]), folder / "t.parquet")
    first, second = find_all([str(folder / "t.parquet")])
    assert isinstance(first, EmbeddedRecording)
    assert first.read() == content
    assert first.label == f"{folder}/t.parquet#1 memo.wav"
    assert second == str(folder / "a.flac")


def test_standard_input_is_a_list_of_paths_or_one_recording(folder):
    lines = io.BytesIO(b"one.wav\n\n two words.wav \n")
    assert list(read_input(lines)) == ["one.wav", "two words.wav"]
    assert list(read_input(io.BytesIO(b"a\nb\nc"))) == ["a", "b", "c"]
    assert list(read_input(io.BytesIO(b""))) == []
    umlaut = "Ärger.wav".encode("latin-1")
    assert list(read_input(io.BytesIO(umlaut))) == [os.fsdecode(umlaut)]
    powershell = "Ä.wav\r\ntwo words.wav\r\n".encode("utf-16")
    assert list(read_input(io.BytesIO(powershell))) == ["Ä.wav", "two words.wav"]
    assert len(list(read_input(io.BytesIO(powershell + b"\x00")))) == 3  # cut off
    found = b"one.wav\0two words.wav\0"  # find -print0
    assert list(read_input(io.BytesIO(found))) == ["one.wav", "two words.wav"]
    assert list(read_input(io.BytesIO(b"\xef\xbb\xbfone.wav\r\n"))) == ["one.wav"]
    many = "".join(f"{number}.wav\n" for number in range(10_000)).encode()
    assert len(list(read_input(io.BytesIO(many)))) == 10_000


HEADS = {
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "flac": b"fLaC\x00\x00\x00\x22",
    "mp3 with ID3": b"ID3\x04\x00\x00\x00\x00\x00\x00",
    "m4a": b"\x00\x00\x00\x1cftypM4A ",
    "webm": b"\x1a\x45\xdf\xa3\x01\x00\x00\x00",
    "amr": b"#!AMR\n\x3c\x48\x1d\x00",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("size", [0, 100_000])
def test_recordings_on_standard_input_are_never_taken_for_paths(head, size):
    content = head + bytes(range(256)) * (size // 256)
    [recording] = read_input(io.BytesIO(content))
    assert isinstance(recording, io.BytesIO)
    assert recording.read() == content


def test_raw_samples_on_standard_input_are_an_error():
    with pytest.raises(UserError):
        list(read_input(io.BytesIO(bytes(range(256)) * 100)))


def test_paths_in_a_pipe_are_returned_as_they_arrive():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", 0) as out, os.fdopen(reading, "rb") as stream:
        found = read_input(stream)
        out.write(b"first.wav\n")
        assert next(found) == "first.wav"
        out.write(b"second.wav\n")
        assert next(found) == "second.wav"


def test_linked_folders_are_entered_once(folder, tmp_path_factory, write_tone):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_tone(elsewhere / "f.wav")
    (folder / "deep" / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    found = sorted(Path(path).name for path in names(folder / "deep"))
    assert found == ["a.flac", "b.wav", "c.WAV", "f.wav"]


def test_an_unreadable_folder_is_returned_to_be_reported(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("this user may read everything")
    assert str(closed) in names(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="the command is for a POSIX shell")
def test_a_kaldi_folder_is_a_table(folder):
    (folder / "deep/wav.scp").write_text(f"u1 {folder}/b.wav\nu2 {folder}/a.flac\n")
    assert names(folder / "deep") == [str(folder / "b.wav"), str(folder / "a.flac")]


def test_a_folder_of_parquet_files_is_a_data_set_unless_it_holds_recordings(folder):
    (folder / "set").mkdir()
    frame = pd.DataFrame({"path": [str(folder / "b.wav")]})
    frame.to_parquet(folder / "set/train-00000-of-00001.parquet")
    assert names(folder / "set") == [str(folder / "b.wav")]
    frame.to_parquet(folder / "deep/results.parquet")  # as `ser predict` writes them
    assert names(folder / "deep") == [str(folder / "deep/c.WAV")]


def test_paths_are_counted_and_recordings_in_memory_are_not_loaded_for_it():
    found, total = count(iter(["a.wav", "b.wav"]))
    assert (list(found), total) == (["a.wav", "b.wav"], 2)
    loaded = []

    def load():
        yield "a.wav"
        for row in range(3):
            loaded.append(row)
            yield EmbeddedRecording(b"", f"table#{row}")

    found, total = count(load())
    assert total is None
    assert loaded == [0]
    assert [getattr(each, "label", each) for each in found] == [
        "a.wav",
        *("table#0", "table#1", "table#2"),
    ]


def test_an_empty_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="empty"):
        names("")


def test_a_name_that_is_too_long_is_reported_in_its_place():
    name = f"{'a' * 300}.wav"
    assert list(find_all([name])) == [name]


def test_a_text_file_is_a_table_unless_it_is_a_recording(folder):
    table = folder / "my.txt"
    table.write_text("path\tspeaker\na.flac\tx\nb.wav\ty\n")
    assert names(table) == [str(folder / "a.flac"), str(folder / "b.wav")]
    recording = folder / "renamed.txt"
    recording.write_bytes((folder / "b.wav").read_bytes())
    assert names(recording) == [str(recording)]


def test_a_table_of_whole_recordings_may_have_empty_times(folder):
    (folder / "whole.csv").write_text("file,start,end\na.flac,0 days 00:00:00,NaT\nb.wav,0,\n")
    assert names(folder / "whole.csv") == [str(folder / "a.flac"), str(folder / "b.wav")]
    (folder / "part.csv").write_text("file,start,end\na.flac,0 days 00:00:00.5,NaT\n")
    with pytest.raises(UserError, match="start"):
        names(folder / "part.csv")
