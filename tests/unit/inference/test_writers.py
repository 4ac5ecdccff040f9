import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from ser.errors import UserError
from ser.inference.prediction import Failure, Prediction, WindowPrediction
from ser.inference.settings import Format
from ser.inference.terminal import TableWriter, clock
from ser.inference.writers import (
    JsonWriter,
    Rows,
    choose_format,
    make_writer,
    open_writer,
    write_all,
)

LABELS = ["happy", "sad", "calm"]
WHOLE = Prediction("a.wav", "sad", {"happy": 0.25, "sad": 0.5, "calm": 0.25}, 1.5)
BAD = Failure("bad, file.wav", "no audio samples")
LONG = Prediction(
    "long.wav",
    "sad",
    {"happy": 0.25, "sad": 0.5, "calm": 0.25},
    75.0,
    (
        WindowPrediction(0, 70, "sad", {"happy": 0.25, "sad": 0.5, "calm": 0.25}),
        WindowPrediction(70, 75, "calm", {"happy": 0.25, "sad": 0.0, "calm": 0.75}),
    ),
)


def written(kind: Format, *results, top_k=None) -> str:
    stream = io.StringIO()
    writer = make_writer(kind, stream, Rows(LABELS, top_k))
    write_all(results, writer, None)
    writer.close()
    return stream.getvalue()


def test_a_timeline_on_a_terminal_leaves_failures_to_standard_error(capsys):
    writer = make_writer(Format.vtt, io.StringIO(), Rows(LABELS, None))
    assert write_all([BAD], writer, None, bar=False) == (1, 1)
    assert BAD.error in capsys.readouterr().err


@pytest.mark.parametrize("bar", [True, False])
def test_no_recording_is_reported(capsys, bar):
    writer = make_writer(Format.json, io.StringIO(), Rows(LABELS, None))
    assert write_all([], writer, None, bar=bar) == (0, 0)
    assert "no recording" in capsys.readouterr().err


def test_json_is_a_list_in_the_order_given():
    assert json.loads(written(Format.json, BAD, WHOLE)) == [
        {"path": "bad, file.wav", "error": "no audio samples"},
        {
            "path": "a.wav",
            "emotion": "sad",
            "probabilities": {"happy": 0.25, "sad": 0.5, "calm": 0.25},
            "seconds": 1.5,
        },
    ]
    assert json.loads(written(Format.json)) == []


def test_json_lines_can_be_read_as_they_come():
    stream = io.StringIO()
    writer = JsonWriter(stream, None, lines=True)
    writer.write(WHOLE)
    assert json.loads(stream.getvalue())["path"] == "a.wav"
    writer.write(LONG)
    writer.close()
    long = json.loads(stream.getvalue().splitlines()[1])
    assert long["windows"][1]["probabilities"] == {"happy": 0.25, "sad": 0.0, "calm": 0.75}
    assert [segment["emotion"] for segment in long["segments"]] == ["sad", "calm"]


def test_top_k_keeps_the_most_probable_first():
    [line] = written(Format.jsonl, LONG, top_k=2).splitlines()
    plain = json.loads(line)
    assert list(plain["probabilities"].items()) == [("sad", 0.5), ("happy", 0.25)]
    assert list(plain["windows"][1]["probabilities"]) == ["calm", "happy"]


def test_csv_has_a_column_for_each_probability_and_the_error():
    good, bad = csv.DictReader(io.StringIO(written(Format.csv, WHOLE, BAD, top_k=2)))
    assert (good["path"], good["emotion"], good["seconds"]) == ("a.wav", "sad", "1.5")
    assert (good["p_happy"], good["p_sad"], good["p_calm"]) == ("0.25", "0.5", "")
    assert (bad["path"], bad["error"], bad["p_sad"]) == ("bad, file.wav", "no audio samples", "")


def test_parquet_holds_every_row_whatever_the_row_groups(tmp_path):
    output = tmp_path / "new" / "out.parquet"
    with open_writer(Format.parquet, output, LABELS, None) as writer:
        assert write_all([WHOLE] * 1500 + [BAD], writer, None) == (1501, 1)
    table = pd.read_parquet(output)
    assert len(table) == 1501
    assert table["p_sad"][:1500].eq(0.5).all()
    assert table["error"][1500] == "no audio samples"


def test_an_interrupted_file_leaves_nothing_behind(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        open_writer(Format.csv, tmp_path / "o.csv", LABELS, None),
    ):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_table_shows_segments_and_failures():
    stream = io.StringIO()
    writer = TableWriter(Console(file=stream, width=100), 3)
    for result in (WHOLE, LONG, BAD):
        writer.write(result)
    lines = stream.getvalue().splitlines()
    assert lines[1].split() == ["a.wav", "sad", "sad", "50%", "happy", "25%", "calm", "25%"]
    assert lines[3].split() == ["0:00.0", "to", "1:10.0", "sad", "50%"]
    assert lines[4].split() == ["1:10.0", "to", "1:15.0", "calm", "75%"]
    assert lines[5].split()[:4] == ["bad,", "file.wav", "failed", "no"]
    assert max(map(len, lines)) <= 100


def test_the_reason_of_a_failure_is_shown_in_full():
    stream = io.StringIO()
    reason = "it is not a recording of a known format; convert it to WAV"
    TableWriter(Console(file=stream, width=60), 3).write(Failure("a.wav", reason))
    assert stream.getvalue().split()[-len(reason.split()) :] == reason.split()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (3599.96, "1:00:00.0"), (3725.5, "1:02:05.5")],
)
def test_times_read_like_a_clock(seconds, shown):
    assert clock(seconds) == shown


def test_the_format_is_asked_for_or_told_from_the_suffix(tmp_path):
    assert choose_format(None, tmp_path / "a.parquet") == Format.parquet
    assert choose_format(Format.csv, tmp_path / "a.txt") == Format.csv
    assert choose_format(None, None) == Format.json  # no terminal here
    with pytest.raises(UserError, match=r"\.jsonl"):
        choose_format(None, tmp_path / "a.xyz")
    with pytest.raises(UserError, match="--format=parquet"):
        choose_format(Format.parquet, None)
    with pytest.raises(UserError, match="--format=table"):
        choose_format(Format.table, tmp_path / "a.csv")


ODD = "caf\udce9.wav"  # as Linux gives the name b"caf\xe9.wav"


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_a_name_that_is_no_utf_8_is_written_all_the_same(kind, tmp_path):
    results = [replace(WHOLE, path=ODD), Failure(ODD, f"{ODD} is broken")]
    output = tmp_path / f"out.{kind}"
    with open_writer(Format(kind), output, LABELS, None) as writer:
        assert write_all(results, writer, None) == (2, 1)
    if kind == "parquet":
        assert pd.read_parquet(output)["path"].tolist() == ["caf\\xe9.wav"] * 2
    else:
        assert output.read_text(encoding="utf-8").count("xe9.wav") == 3


def test_a_folder_is_no_file_to_write_to(tmp_path):
    (tmp_path / "out.json").mkdir()
    with (
        pytest.raises(UserError, match=r"out\.json"),
        open_writer(Format.json, tmp_path / "out.json", LABELS, None),
    ):
        pass


def test_links_and_devices_are_written_to_and_not_replaced(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    with open_writer(Format.json, link, LABELS, None) as writer:
        writer.write(WHOLE)
    assert link.is_symlink()
    assert json.loads(target.read_text())[0]["path"] == "a.wav"
    with open_writer(Format.json, Path("/dev/null"), LABELS, None) as writer:
        writer.write(WHOLE)
    assert Path("/dev/null").is_char_device()


def test_names_in_brackets_and_wide_letters_are_shown_within_the_width():
    stream = io.StringIO()
    writer = TableWriter(Console(file=stream, width=80), 3)
    for path in ("[red]x.wav", "長" * 60 + ".wav"):
        writer.write(replace(WHOLE, path=path))
    _, short, long = stream.getvalue().splitlines()
    assert short.startswith("[red]x.wav")
    assert cell_len(long) <= 80
    assert long.startswith("…長")
