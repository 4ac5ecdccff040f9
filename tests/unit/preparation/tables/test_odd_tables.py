"""Tables of unusual shapes are read, or one message says what to change."""

import json
import re
import zipfile
from typing import Any

import pandas as pd
import pytest

from ser.config.data import DataConfig
from ser.errors import UserError
from ser.inference.sources import read_paths
from ser.preparation.table import scan_table

ROWS = [{"path": f"{n}.wav", "emotion": label} for n, label in enumerate(["angry", "sad", "happy"])]
FRAME = pd.DataFrame(ROWS)


@pytest.fixture
def folder(tmp_path, write_tone):
    for row in ROWS:
        write_tone(tmp_path / row["path"])
    return tmp_path


def scan(path) -> list[str]:
    manifest = scan_table(path, DataConfig(corpora=[], table=str(path)))
    return manifest.utterances["intended"].tolist()


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"version": 1, "info": {}, "rows": ROWS}),
        "\n".join(map(json.dumps, ROWS)),
        *(FRAME.to_json(orient=orient) for orient in ("columns", "records", "table")),
        json.dumps(FRAME.to_dict("list")),
    ],
)
def test_json_of_these_shapes_is_read(folder, content):
    (folder / "t.json").write_text(content)
    assert scan(folder / "t.json") == FRAME["emotion"].tolist()
    assert len(list(read_paths(str(folder / "t.json")))) == len(ROWS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "rows"),
        ("{}", "rows"),
        ("null", "objects"),
        ('"text"', "objects"),
        ("[1, 2]", "objects"),
        (json.dumps([row["path"] for row in ROWS]), "objects"),
        (json.dumps(FRAME.to_numpy().tolist()), "objects"),
        (FRAME.to_json(orient="split"), "objects"),
        (json.dumps({row["path"]: row["emotion"] for row in ROWS}), "keys"),
        (json.dumps(FRAME.set_index("path").to_dict("index")), "keys"),
        (json.dumps(ROWS)[:-20], "line 1"),
        (json.dumps(ROWS, indent=1)[:-4] + ",]", "cut"),
        ("// rows\n" + json.dumps(ROWS), "line 1"),
        (",\n".join(map(json.dumps, ROWS)), "commas"),
        (json.dumps([row | {"emotion": [row["emotion"]]} for row in ROWS]), "'emotion' is a list"),
        (json.dumps([row | {"path": {"name": "a.wav"}} for row in ROWS]), "'path' is an object"),
    ],
)
def test_json_of_other_shapes_is_one_message(folder, content, words):
    (folder / "t.json").write_text(content)
    with pytest.raises(UserError) as raised:
        scan(folder / "t.json")
    assert words in str(raised.value)
    assert "t.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("columns", [["path", "emotion"], ["emotion", "path"], ["path"]])
def test_the_row_that_a_message_advises_is_the_missing_header(folder, separator, columns):
    path = folder / "t.csv"
    rows = FRAME[columns].to_csv(index=False, header=False, sep=separator)
    path.write_text(rows)
    for read in (scan, lambda path: list(read_paths(str(path)))):
        with pytest.raises(UserError, match="no header") as raised:
            read(path)
        advised = str(raised.value).rsplit("such as ", 1)[1].split(", ")
        assert advised == columns
    path.write_text(separator.join(columns) + "\n" + rows)
    assert len(list(read_paths(str(path)))) == len(ROWS)


@pytest.mark.parametrize("address", ["https://host/0.wav", "s3://bucket/0.wav", "file:///a/0.wav"])
@pytest.mark.parametrize("row", [0, 1])
def test_addresses_are_named_with_their_row(folder, address, row):
    rows: list[Any] = [dict(each) for each in ROWS]
    rows[row]["path"] = address
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    with pytest.raises(UserError, match=f"row {row + 2}: .*{address}"):
        scan(folder / "t.csv")


def test_an_address_in_a_table_is_a_failure_in_its_place(folder, tiny_predictor):
    text = "path\n0.wav\nhttps://host/1.wav\n"
    (folder / "t.csv").write_text(text)
    first, second = tiny_predictor.stream(read_paths(str(folder / "t.csv")))
    assert first.emotion
    assert second.path == "https://host/1.wav"
    assert "address" in second.error


@pytest.mark.parametrize("between", ["2.wav,sad\n", "# a comment\n"])
def test_a_quote_that_swallows_recordings_is_refused(folder, between):
    rows = f'path,emotion,text\n0.wav,sad,"hello\n1.wav,sad,hi\n{between}2.wav,sad,yes"\n'
    (folder / "t.csv").write_text(rows)
    with pytest.raises(UserError, match="quote"):
        scan(folder / "t.csv")
    with pytest.raises(UserError, match="quote"):
        list(read_paths(str(folder / "t.csv")))


def test_quotes_around_a_blank_line_swallow_no_row(folder):
    rows = 'path,emotion,text\n0.wav,sad,"hello\n1.wav,happy,hi\n\n2.wav,angry,yes"\n'
    (folder / "t.csv").write_text(rows)
    assert scan(folder / "t.csv") == ["sad", "happy", "angry"]


def test_a_cell_of_several_lines_is_one_cell(folder):
    rows = 'path,emotion,text\n0.wav,sad,"well, one\n\ntwo, three, four"\n1.wav,happy,x\n'
    (folder / "t.csv").write_text(rows)
    assert scan(folder / "t.csv") == ["sad", "happy"]


@pytest.mark.parametrize(
    "row", ['1,"hello\nbig\nworld",0.wav,sad', '1,"hello\nbig\nworld, again",0.wav,sad']
)
def test_a_path_after_a_cell_of_several_lines_is_read(folder, row):
    (folder / "t.csv").write_text(f"id,text,path,emotion\n{row}\n")
    assert scan(folder / "t.csv") == ["sad"]


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [
        ("00:00:01,500", 1.5),
        ("0:01:01,5", 61.5),
        ("0 days 00:00:01,500", 1.5),
        ("P0DT0H0M1.5S", 1.5),
        ("PT1M1,5S", 61.5),
        ("1 day, 0:00:01.5", 86401.5),
        ("1:00:01,500,0", None),
    ],
)
def test_times_may_have_a_decimal_comma(folder, spelled, seconds):
    (folder / "t.csv").write_text(f"path;emotion;start;end\n0.wav;sad;{spelled};99999\n")
    data = DataConfig(corpora=[], table=str(folder / "t.csv"))
    if seconds is None:
        with pytest.raises(UserError, match="start"):
            scan_table(folder / "t.csv", data)
    else:
        found = scan_table(folder / "t.csv", data).utterances["start"].tolist()
        assert found == pytest.approx([seconds])


def test_a_workbook_with_too_small_a_range_is_read_whole(folder):
    pytest.importorskip("openpyxl")
    FRAME.to_excel(folder / "whole.xlsx", index=False)
    with (
        zipfile.ZipFile(folder / "whole.xlsx") as source,
        zipfile.ZipFile(folder / "t.xlsx", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content, changes = re.subn(rb'ref="A1:B4"', b'ref="A1:A2"', content)
                assert changes == 1
            target.writestr(name, content)
    assert scan(folder / "t.xlsx") == FRAME["emotion"].tolist()
