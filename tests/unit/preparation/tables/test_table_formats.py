"""Tables of other formats than text: the same rows and recordings come out of all of them."""

import gzip
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from scanning import scan

from ser.errors import UserError
from ser.preparation.tables import reader
from ser.preparation.tables.delimited import LONGEST_CELL
from ser.preparation.tables.reader import read_table

FRAME = pd.DataFrame(
    {
        "path": ["0.wav", "1.wav", "2.wav", "3.wav"],
        "emotion": ["happy", "sad", "happy", "sad"],
        "speaker": ["01", "02", None, "02"],
        "sentence": ["hello", 'so "so", yes', "two\nlines", "ß"],
        "agreement": [1.0, 0.5, None, 0.25],
    }
)


def write_excel(path: Path) -> None:
    FRAME.to_excel(path, index=False)


WRITERS = {
    "my.csv": lambda path: FRAME.to_csv(path, index=False),
    "my.csv.gz": lambda path: FRAME.to_csv(path, index=False),
    "my.parquet": lambda path: FRAME.to_parquet(path, index=False),
    "index.parquet": lambda path: FRAME.to_parquet(path),
    "categories.parquet": lambda path: FRAME.astype({"emotion": "category"}).to_parquet(path),
    "my.xlsx": write_excel,
    "my.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "my.json": lambda path: FRAME.to_json(path, orient="records"),
    "columns.json": lambda path: FRAME.to_json(path),
    "wrong.csv": lambda path: FRAME.to_parquet(path, index=False),  # a suffix that lies
    "wrong.parquet": lambda path: FRAME.to_csv(path, index=False, sep=";"),
    "ascii.json": lambda path: FRAME.to_json(path, orient="records", force_ascii=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(folder, name):
    pytest.importorskip("openpyxl") if name.endswith("xlsx") else None
    WRITERS[name](folder / name)
    found = scan(folder / name, folder / "cache")
    assert found["intended"].tolist() == ["happy", "sad", "happy", "sad"]
    assert found["speaker"].str.rpartition("/")[2].tolist() == ["01", "02", "", "02"]
    assert found["sentence"].tolist() == FRAME["sentence"].tolist()
    assert found["agreement"].fillna(-1).tolist() == [1.0, 0.5, -1.0, 0.25]
    assert [Path(path).name for path in found["path"]] == FRAME["path"].tolist()


@pytest.mark.parametrize("name", ["my.csv", "my.xlsx", "my.jsonl", "my.parquet"])
def test_whole_numbers_are_labels_without_a_decimal_point(folder, name):
    pytest.importorskip("openpyxl") if name.endswith("xlsx") else None
    frame = FRAME.assign(emotion=[0, 1, 0, 1])
    if name.endswith("parquet"):
        frame = frame.astype({"emotion": float})
    writers = {
        "my.csv": frame.to_csv, "my.xlsx": frame.to_excel, "my.parquet": frame.to_parquet,
        "my.jsonl": lambda path, index: frame.to_json(path, orient="records", lines=True),
    }  # fmt: skip
    writers[name](folder / name, index=False)
    found = scan(folder / name, folder / "cache", label_map={"0": "happy", "1": "sad"})
    assert found["intended"].tolist() == ["happy", "sad", "happy", "sad"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("my.jsonl", b'{"path": "0.wav"}\n{"path": \n', "row 2"),
        ("my.jsonl", b'{"path": "0.wav"}\n[1]\n', "row 2"),
        ("my.json", b"[1, 2]", "row 1"),
        ("my.json", b'{"path": ["a.wav"], "emotion": ["sad", "sad"]}', r"my\.json"),
        ("my.json", b'{"Path": "a", "path": "b"}', "two columns"),
        ("my.parquet", b"PAR1 and nothing else", r"my\.parquet"),
        ("my.xlsx", b"PK\x03\x04 and nothing else", r"my\.xlsx"),
        ("my.xls", b"\xd0\xcf\x11\xe0 old", "xlsx"),
        ("my.arrow", b"ARROW1\0\0", "Parquet"),
        ("my.csv.gz", gzip.compress(b"path,emotion\n", mtime=0), "no rows"),
        ("cut.csv.gz", gzip.compress(b"path,emotion\n" * 99, mtime=0)[:30], r"cut\.csv\.gz"),
        ("my.csv", b"\x00\x01\x02\x03 not text", r"my\.csv"),
        ("my.csv", b"x" * 300_000, r"my\.csv"),
        ("my.csv", b"x" * (LONGEST_CELL + 1), r"my\.csv"),
        ("my.csv", b"path,emotion\n0.wav,happy\n1.wav,s\0d\n", "row 3"),
        ("my.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("my.json", b"[" * 100_000, r"my\.json"),
        ("my.jsonl", b'{"path": "0.wav", "emotion": "\\ud800"}', r"my\.jsonl"),
        ("my.jsonl", b'{"path": "0.wav", "emotion": "sad", "emotion": "happy"}', "twice"),
        ("my.parquet", b"PAR1" + bytes(20) + b"PAR1", r"my\.parquet"),
        ("my.csv.gz", gzip.compress(b"path,emotion\n0.wav,sad\n", mtime=0)[:-9], r"my\.csv"),
        ("my.csv.gz", gzip.compress(b"path,emotion\n", mtime=0) + b"more", r"my\.csv"),
        ("my.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\3 no deflate", r"my\.csv"),
    ],
)
def test_damaged_and_unknown_files_are_one_message(folder, name, content, problem):
    pytest.importorskip("openpyxl")
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=problem):
        scan(folder / name, folder / "cache")


@pytest.mark.parametrize("name", ["my.parquet", "my.xlsx"])
def test_whatever_bits_change_a_table_is_read_or_refused(folder, name):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame({"path": ["0.wav", "1.wav"] * 20, "emotion": ["happy", "sad"] * 20})
    (frame.to_excel if "xlsx" in name else frame.to_parquet)(folder / name, index=False)
    content, random = (folder / name).read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(len(content), size=3):
            damaged[place] ^= 1 << int(random.integers(8))
        (folder / name).write_bytes(damaged)
        with suppress(UserError):
            scan(folder / name, folder / "cache")


def test_a_workbook_is_recognised_by_its_content(folder):
    pytest.importorskip("openpyxl")
    write_excel(folder / "my.xlsx")
    (folder / "my.xlsx").rename(folder / "my.csv")
    assert len(scan(folder / "my.csv", folder / "cache")) == 4


def test_a_compressed_table_cannot_fill_the_memory(folder, monkeypatch):
    monkeypatch.setattr(reader, "MOST_BYTES", 1000)
    (folder / "my.csv.gz").write_bytes(gzip.compress(b"path,emotion\n" + b"0.wav,sad\n" * 1000))
    with pytest.raises(UserError):
        scan(folder / "my.csv.gz", folder / "cache")


def test_json_in_another_encoding_keeps_its_first_row(folder):
    lines = "\n".join(json.dumps({"path": f"{n}.wav", "emotion": "sad"}) for n in range(4))
    (folder / "my.jsonl").write_text(lines, encoding="utf-16")
    assert len(scan(folder / "my.jsonl", folder / "cache")) == 4


def test_the_columns_in_a_message_are_few(folder):
    header = ",".join(f"column{number:04}" for number in range(1000))
    (folder / "my.csv").write_text(f"{header}\n")
    with pytest.raises(UserError) as raised:
        scan(folder / "my.csv", folder / "cache")
    assert len(str(raised.value)) < 1000


def test_duplicate_columns_are_found_in_every_format(folder):
    table = pa.table([["0.wav"], ["sad"], ["sad"]], names=["path", "emotion", "EMOTION"])
    parquet.write_table(table, folder / "my.parquet")
    with pytest.raises(UserError, match="EMOTION"):
        scan(folder / "my.parquet", folder / "cache")


def test_only_the_first_sheet_is_read_and_reported(folder, caplog):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(folder / "my.xlsx") as writer:
        FRAME.to_excel(writer, sheet_name="first", index=False)
        FRAME.to_excel(writer, sheet_name="second", index=False)
    assert len(scan(folder / "my.xlsx", folder / "cache")) == 4
    assert "'first'" in caplog.text


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_audformat_tables_have_files_and_times(folder, storage):
    times = pd.to_timedelta(["0s", "0.25s", "0s", "0s"])
    ends = pd.to_timedelta(["0.25s", "0.5s", "0.25s", "NaT"])
    frame = pd.DataFrame(
        {"file": ["0.wav", "0.wav", "1.wav", "2.wav"], "start": times, "end": ends,
         "emotion": ["happy", "sad", "happy", "sad"]}
    )  # fmt: skip
    if storage == "csv":
        frame.to_csv(folder / "db.seg.csv", index=False)
    else:
        frame.to_parquet(folder / "db.seg.parquet", index=False)
    found = scan(folder / f"db.seg.{storage}", folder / "cache")
    assert found["start"].tolist() == [0.0, 0.25, 0.0, 0.0]
    assert found["end"].fillna(-1).tolist() == [0.25, 0.5, 0.25, -1.0]


def test_kaldi_folders_are_tables(folder):
    data = folder / "kaldi"
    data.mkdir()
    (data / "wav.scp").write_text(f"rec0 {folder}/0.wav\nrec1 {folder}/1.wav\n")
    (data / "segments").write_text("a rec0 0.0 0.25\nb rec0 0.25 0.5\nc rec1 0.0 0.4\n")
    (data / "utt2emo").write_text("a happy\nb sad\nc happy\n")
    (data / "utt2spk").write_text("a ann\nb bob\nc ann\n")
    (data / "spk2gender").write_text("ann f\nbob m\n")
    (data / "text").write_text("a hello there\nb\nc bye\n")
    found = scan(data, folder / "cache")
    assert found["intended"].tolist() == ["happy", "sad", "happy"]
    assert found["speaker"].tolist() == ["kaldi/ann", "kaldi/bob", "kaldi/ann"]
    assert found["gender"].tolist() == ["female", "male", "female"]
    assert found["sentence"].tolist() == ["hello there", "", "bye"]
    assert found["end"].tolist() == [0.25, 0.5, 0.4]
    (data / "segments").unlink()
    (data / "utt2emo").write_text("rec0 happy\nrec1 sad\n")
    assert scan(data, folder / "cache")["intended"].tolist() == ["happy", "sad"]
    (data / "wav.scp").write_text("rec0 sox x.sph -t wav - |\n")
    with pytest.raises(UserError, match="rec0"):
        scan(data, folder / "cache")


def test_kaldi_files_in_another_encoding_are_named(folder):
    (folder / "wav.scp").write_text(f"rec0 {folder}/0.wav\n")
    (folder / "utt2emo").write_bytes("rec0 glücklich\n".encode("latin-1"))
    with pytest.raises(UserError, match="utt2emo"):
        scan(folder, folder / "cache")


def test_a_folder_without_a_table_is_an_error(folder):
    with pytest.raises(UserError, match="no Parquet files"):
        scan(folder, folder / "cache")


def test_the_reader_returns_only_what_is_asked_for(folder):
    FRAME.to_parquet(folder / "my.parquet")
    assert list(read_table(folder / "my.parquet", ("path",)).rows) == ["path"]


@pytest.mark.parametrize(
    ("file", "lines"), [("utt2emo", "a sad\na happy\n"), ("wav.scp", "a 0.wav\na 1.wav\n")]
)
def test_a_kaldi_folder_that_contradicts_itself_is_refused(folder, file, lines):
    (folder / "wav.scp").write_text("a 0.wav\n")
    (folder / "utt2emo").write_text("a sad\n")
    (folder / file).write_text(lines)
    with pytest.raises(UserError, match=f"{file}, line 2"):
        scan(folder, folder / "cache")


@pytest.mark.parametrize("areas", [["B2:B3", "B4:B5"], ["B2:C3", "B4:XFD1048576"]])
def test_cells_that_are_merged_below_one_another_have_one_value(folder, areas):
    """A range that ends behind the last row adds no rows, and one of a whole sheet ends."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["path", "emotion"], ["0.wav", "happy"], ["1.wav"], ["2.wav", "sad"], ["3.wav"]):
        book.active.append(row)
    for area in areas:
        book.active.merged_cells.add(area)
    book.save(folder / "my.xlsx")
    found = scan(folder / "my.xlsx", folder / "cache").sort_values("id")
    assert found["emotion"].tolist() == ["happy", "happy", "sad", "sad"]


@pytest.mark.parametrize("columns", [["start"], ["start", "end"], ["start", "duration"]])
def test_times_in_days_are_refused(folder, columns):
    """pandas writes timedeltas to Excel as days."""
    pytest.importorskip("openpyxl")
    seconds = {"start": [0.0, 0.5, 0.25, 0.1], "end": [0.4, 0.9, 0.8, 0.6], "duration": [0.3] * 4}
    frame = FRAME.assign(
        **{name: pd.to_timedelta(seconds[name], unit="s") for name in columns},
    )
    frame.to_excel(folder / "my.xlsx", index=False)
    with pytest.raises(UserError, match=r"my\.xlsx, row [23] .* days"):
        scan(folder / "my.xlsx", folder / "cache")
    frame.to_csv(folder / "my.csv", index=False)  # as text, with their unit
    found = scan(folder / "my.csv", folder / "cache").sort_values("path")
    assert found["start"].tolist() == seconds["start"]


def test_speakers_that_differ_in_case_only_are_named(folder, caplog):
    FRAME.assign(speaker=["Ann", "ann", "Bo", "Bo"]).to_csv(folder / "my.csv", index=False)
    assert scan(folder / "my.csv", folder / "cache")["speaker"].nunique() == 3
    [record] = caplog.records
    assert "my/Ann and my/ann" in record.getMessage()
