import io
import os
from pathlib import Path

import pandas as pd
import pytest

from ser.sources import find_all, read_input


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


def test_a_folder_is_its_audio_files_in_order_and_those_below(folder):
    assert names(folder) == [str(folder / name) for name in ("a.flac", "b.wav", "deep/c.WAV")]


def test_arguments_keep_their_order(folder):
    wanted = [folder / "b.wav", folder / "a.flac"]
    assert names(*wanted) == [str(path) for path in wanted]


def test_a_glob_is_what_it_matches_sorted(folder):
    assert names(folder / "*.[wf]*") == [str(folder / "a.flac"), str(folder / "b.wav")]
    assert names(folder / "**" / "*.WAV") == [str(folder / "deep" / "c.WAV")]


def test_what_is_not_there_is_handed_on_to_be_reported(folder):
    assert names(folder / "none.wav", folder / "none*.wav") == [
        str(folder / "none.wav"),
        str(folder / "none*.wav"),
    ]
    empty = folder / "empty"
    empty.mkdir()
    assert names(empty) == [str(empty)]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder, write_tone):
    odd = write_tone(folder / "take[1].wav")
    assert names(odd) == [str(odd)]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_names_files_beside_it_or_anywhere(folder, suffix):
    table = folder / f"table.{suffix}"
    frame = pd.DataFrame({"speaker": ["x", "y"], "path": ["b.wav", "/elsewhere/z.wav"]})
    if suffix == "parquet":
        frame.to_parquet(table)
    else:
        frame.to_csv(table, index=False, sep="\t" if suffix == "tsv" else ",")
    assert names(table) == [str(folder / "b.wav"), "/elsewhere/z.wav"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"file,label\nx.wav,sad\n", "has no column 'path'; its columns are file, label"),
        ("a.csv", b"", "its columns are none"),
        ("a.csv", b"path,start\nx.wav,\ny.wav,0.5\n", "names parts of recordings by start and end"),
        ("a.csv", b"path\n\xff\xfe", "no table that can be read"),
        ("a.parquet", b"PARnothing", "is no Parquet file"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        names(tmp_path / name)


def test_standard_input_is_a_list_of_paths_or_one_recording(folder):
    lines = io.BytesIO(b"one.wav\n\n two words.wav \n")
    assert list(read_input(lines)) == ["one.wav", "two words.wav"]
    assert list(read_input(io.BytesIO(b"a\nb\nc"))) == ["a", "b", "c"]
    assert list(read_input(io.BytesIO(b""))) == []
    for name in ("a.flac", "b.wav"):
        content = (folder / name).read_bytes()
        [recording] = read_input(io.BytesIO(content))
        assert isinstance(recording, io.BytesIO)
        assert recording.read() == content


def test_a_parquet_table_may_have_gaps_but_no_numbers(tmp_path):
    table = tmp_path / "table.parquet"
    pd.DataFrame({"path": ["a.wav", None]}).to_parquet(table)
    assert names(table) == [str(tmp_path / "a.wav")]
    pd.DataFrame({"path": [1, 2]}).to_parquet(table)
    with pytest.raises(ValueError, match=r"row 0: path is 1, and no text"):
        names(table)


def test_linked_folders_are_entered_and_loops_end(folder, tmp_path_factory, write_tone):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_tone(elsewhere / "f.wav")
    (folder / "deep" / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    found = sorted(Path(path).name for path in names(folder / "deep"))
    assert found == ["a.flac", "b.wav", "c.WAV", "f.wav"]


def test_a_folder_that_may_not_be_read_is_handed_on_to_be_reported(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("this user may read everything")
    assert str(closed) in names(folder)
