from dataclasses import replace

import pytest
import webvtt
from praatio import textgrid

from ser.errors import UserError
from ser.inference.prediction import Failure, Prediction, WindowPrediction
from ser.inference.settings import Format
from ser.inference.writers import choose_format, open_writer

LABELS = ["happy", "sad"]
HAPPY, SAD = {"happy": 0.75, "sad": 0.25}, {"happy": 0.1, "sad": 0.9}
# Silent before 0.5 s and from 2 s to 3.25 s.
CALL = Prediction(
    "call.wav",
    "sad",
    SAD,
    4.0005,
    (
        WindowPrediction(0.5, 1.0, "happy", HAPPY),
        WindowPrediction(1.0, 2.0, "sad", SAD),
        WindowPrediction(3.25, 4.0005, "sad", SAD),
    ),
)
SEGMENTS = [(0.5, 1.0, "happy"), (1.0, 2.0, "sad"), (3.25, 4.0, "sad")]
STEREO = [
    replace(CALL, channel=1),
    Prediction("call.wav", "happy", HAPPY, 4.0005, (), channel=2),
]
SUFFIXES = {Format.textgrid: ".TextGrid", Format.vtt: ".vtt", Format.audacity: ".txt"}


def write(kind, output, *results):
    with open_writer(kind, output, LABELS, None) as writer:
        for each in results:
            writer.write(each)
    return output


def test_praat_reads_intervals_that_cover_the_recording(tmp_path):
    path = write(Format.textgrid, tmp_path / "call.TextGrid", CALL)
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    assert grid.tierNames == ("emotion",)
    assert (grid.minTimestamp, grid.maxTimestamp) == (0, 4.0)
    entries = grid.getTier("emotion").entries
    assert [tuple(each) for each in entries if each.label] == SEGMENTS
    assert [tuple(each) for each in entries if not each.label] == [(0, 0.5, ""), (2.0, 3.25, "")]


def test_each_channel_is_a_tier_of_praat(tmp_path):
    path = write(Format.textgrid, tmp_path / "call.TextGrid", *STEREO)
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("channel 1", "channel 2")
    assert [tuple(each) for each in grid.getTier("channel 2").entries] == [(0, 4.0, "happy")]


def test_webvtt_cues_have_emotion_probability_and_channel(tmp_path):
    cues = webvtt.read(str(write(Format.vtt, tmp_path / "a.vtt", *STEREO)))
    found = [(cue.start_in_seconds, cue.text, cue.voice) for cue in cues]
    assert found == [
        (0, "happy 75%", "channel 2"),
        (0, "happy 75%", "channel 1"),
        (1, "sad 90%", "channel 1"),
        (3, "sad 90%", "channel 1"),
    ]
    assert cues[1].start == "00:00:00.500"
    assert cues[0].end == "00:00:04.000"


def test_webvtt_of_hours_and_of_labels_with_markup(tmp_path):
    late = Prediction("a.wav", "<i>&", {"<i>&": 1.0}, 7325.25)
    [cue] = webvtt.read(str(write(Format.vtt, tmp_path / "a.vtt", late)))
    assert cue.end == "02:02:05.250"
    assert "&lt;i&gt;&amp; 100%" in (tmp_path / "a.vtt").read_text()


def test_audacity_labels_are_tab_separated_seconds(tmp_path):
    rows = write(Format.audacity, tmp_path / "a.txt", CALL).read_text().splitlines()
    parsed = [(float(a), float(b), label) for a, b, label in (row.split("\t") for row in rows)]
    assert parsed == SEGMENTS


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_folder_has_a_file_per_recording_that_did_not_fail(tmp_path, kind):
    other = replace(CALL, path="in/other.mp3")
    write(kind, tmp_path / "out", *STEREO, Failure("bad.wav", "no audio"), other)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"call{SUFFIXES[kind]}", f"other{SUFFIXES[kind]}"}


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_suffix_chooses_the_format(tmp_path, kind):
    assert choose_format(None, tmp_path / f"a{SUFFIXES[kind]}") == kind


@pytest.mark.parametrize("output", ["a.vtt", None])
def test_several_recordings_do_not_fit_into_one_file(tmp_path, output):
    path = None if output is None else tmp_path / output
    with pytest.raises(UserError, match="--output"):
        write(Format.vtt, path, CALL, replace(CALL, path="b.wav"))
    assert not list(tmp_path.iterdir())


def test_two_recordings_of_one_name_do_not_overwrite_each_other(tmp_path):
    inside = [replace(CALL, path=f"calls.parquet#{row}") for row in (1, 2)]
    write(Format.vtt, tmp_path / "out", CALL, replace(CALL, path="a/call.wav"), *inside)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"call.vtt", "call-2.vtt", "calls.parquet#1.vtt", "calls.parquet#2.vtt"}
