import time

import pandas as pd
import pytest

from ser.config.data import TABLE_COLUMNS
from ser.errors import UserError
from ser.preparation.tables.reader import read_table


@pytest.fixture
def read(tmp_path):
    def read(header: str, chosen: dict[str, str | None] | None = None) -> pd.DataFrame:
        names = header.split(",")
        (tmp_path / "my.csv").write_text(f"{header}\n{','.join(map(str, range(len(names))))}\n")
        return read_table(tmp_path / "my.csv", TABLE_COLUMNS, chosen).rows

    return read


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("path,emotion", {"path": "0", "emotion": "1"}),
        ("emotion,path", {"path": "1", "emotion": "0"}),
        ("FILE NAME,Emotion-Label", {"path": "0", "emotion": "1"}),
        ("file,label,speaker_id", {"path": "0", "emotion": "1", "speaker": "2"}),  # datasets, audformat
        ("FileName,EmoClass,SpkrID,Gender,Split_Set", {"path": "0", "emotion": "1", "speaker": "2", "gender": "3", "split": "4"}),  # MSP-Podcast
        ("client_id,path,sentence,emotion", {"path": "1", "emotion": "3", "speaker": "0", "sentence": "2"}),  # Common Voice
        ("audio_filepath,text,emotion", {"path": "0", "emotion": "2", "sentence": "1"}),  # NeMo
        ("path,audio,label,emotion", {"path": "0", "emotion": "3"}),  # our own names come first
        ("wav,emo,sex,transcript", {"path": "0", "emotion": "1", "gender": "2", "sentence": "3"}),
    ],
)  # fmt: skip
def test_usual_names_are_understood(read, header, expected):
    [row] = read(header).to_dict("records")
    assert {name: value for name, value in row.items() if value} == expected


def test_guesses_are_reported_in_one_line(read, caplog):
    read("file_name,label,speaker")
    [record] = caplog.records
    assert "'file_name'" in record.message
    assert "'label'" in record.message
    assert "speaker" not in record.message
    caplog.clear()
    read("Path, emotion ,SPEAKER")
    assert not caplog.records


def test_a_wide_table_is_read_quickly(read):
    header = ",".join(["path", "emotion", *(f"feature_{number}" for number in range(6000))])
    started = time.perf_counter()
    assert list(read(header)) == ["path", "emotion"]
    assert time.perf_counter() - started < 2


def test_chosen_columns_come_before_guesses(read):
    [row] = read(
        "path,emotion,clip,Gefühl Wert", {"path": "clip", "emotion": "gefühl wert"}
    ).to_dict("records")
    assert (row["path"], row["emotion"]) == ("2", "3")


def test_a_chosen_column_that_is_missing_is_an_error_with_a_suggestion(read):
    with pytest.raises(UserError, match=r"file_nam.*path.*did you mean file_name"):
        read("file_name,emotion", {"path": "file_nam"})
