"""`ser predict` in process, on a tiny trained checkpoint."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from praatio import textgrid
from typer.testing import CliRunner, Result

from ser.commands.main import app
from ser.training.train import train

# Runs the command and then prints the heavy modules that were imported.
WATCHED = """
import sys
from ser.commands.main import main
try:
    main()
finally:
    print("heavy:", sorted({"torch", "transformers", "lightning", "pandas"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def run(quick_config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = quick_config(tmp_path_factory.mktemp("run"), "trainer.max_steps=4")
    return train(config).output_dir


def predict(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path, write_tone) -> Path:
    write_tone(tmp_path / "in" / "a.wav", pitch=300)
    write_tone(tmp_path / "in" / "b.flac", pitch=200, rate=44_100, seconds=1.4)
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))
    soundfile.write(tmp_path / "in" / "c.ogg", stereo, 8000)
    return tmp_path / "in"


def test_a_folder_is_predicted_in_order_and_piped_as_json(run, folder):
    done = predict(folder, "--ckpt", run)
    assert done.exit_code == 0, done.stderr
    predicted = json.loads(done.stdout)
    assert [Path(row["path"]).name for row in predicted] == ["a.wav", "b.flac", "c.ogg"]
    assert all(
        sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4) for row in predicted
    )
    assert all(row["emotion"] in row["probabilities"] for row in predicted)


def test_a_bad_file_is_reported_and_the_others_are_predicted(run, folder):
    (folder / "aa.wav").write_bytes(b"no audio")
    done = predict(folder, folder / "none.wav", "--ckpt", run, "--format", "jsonl")
    assert done.exit_code == 1
    predicted = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["error" in row for row in predicted] == [False, True, False, False, True]
    assert done.stderr.count("failed: ") == 2


def test_a_dash_is_the_standard_output(run, folder):
    plain = predict(folder, "--ckpt", run)
    assert predict(folder, "--ckpt", run, "--output", "-").stdout == plain.stdout


def test_the_file_written_is_named(run, folder, tmp_path):
    output = tmp_path / "predictions.json"
    done = predict(folder, "--ckpt", run, "--output", output)
    assert str(output) in done.stderr
    assert done.stdout == ""


def test_standard_input_names_recordings_or_is_one(run, folder):
    by_name = predict("-", "--ckpt", run, stdin=f"{folder / 'a.wav'}\n".encode())
    by_content = predict("-", "--ckpt", run, stdin=(folder / "a.wav").read_bytes())
    [named], [content] = json.loads(by_name.stdout), json.loads(by_content.stdout)
    assert named["probabilities"] == content["probabilities"]
    assert content["path"] is None


@pytest.fixture
def call(tmp_path, write_tone) -> Path:
    """A stereo call beside its two channels, left.wav and right.wav."""
    sides = [tmp_path / "left.wav", tmp_path / "right.wav"]
    for path, pitch in zip(sides, (150, 420), strict=True):
        write_tone(path, pitch=pitch, seconds=4)
    samples = np.stack([soundfile.read(path)[0] for path in sides], axis=1)
    rate = soundfile.info(sides[0]).samplerate
    soundfile.write(tmp_path / "call.wav", samples, rate)
    return tmp_path / "call.wav"


@pytest.mark.parametrize("by_content", [False, True])
def test_separate_channels_are_predicted_like_mono_recordings(run, call, by_content):
    name, stdin = ("-", call.read_bytes()) if by_content else (call, None)
    sides = json.loads(
        predict(call.with_name("left.wav"), call.with_name("right.wav"), "--ckpt", run).stdout
    )
    done = predict(name, "--ckpt", run, "--channels", "separate", stdin=stdin)
    rows = json.loads(done.stdout)
    assert [row["channel"] for row in rows] == [1, 2]
    assert [row["path"] for row in rows] == [None if by_content else str(call)] * 2
    for row, side in zip(rows, sides, strict=True):
        assert row["probabilities"] == pytest.approx(side["probabilities"], abs=1e-5)


def test_a_mono_recording_has_no_channels(run, call):
    left = call.with_name("left.wav")
    done = predict(left, "--ckpt", run, "--channels", "separate", "--format", "csv")
    [header, row] = done.stdout.splitlines()
    assert header.startswith("path,channel,emotion,")
    assert row.startswith(f"{left},,")


def test_a_timeline_per_channel_is_written_for_praat(run, call):
    output = call.with_suffix(".TextGrid")
    done = predict(
        *(call, "--ckpt", run, "--channels", "separate"),
        *("--window", "1", "--hop", "1", "--output", output),
    )
    assert done.exit_code == 0, done.stderr
    grid = textgrid.openTextgrid(str(output), includeEmptyIntervals=True)
    assert grid.tierNames == ("channel 1", "channel 2")
    assert grid.maxTimestamp == 4


def test_windows_give_a_timeline(run, tmp_path, write_tone):
    path = write_tone(tmp_path / "long.wav", seconds=4)
    done = predict(path, "--ckpt", run, "--window", "2", "--hop", "1")
    [row] = json.loads(done.stdout)
    assert [(w["start"], w["end"]) for w in row["windows"]] == [(0, 2), (1, 3), (2, 4)]
    assert row["segments"][0]["start"] == 0
    assert row["segments"][-1]["end"] == 4


def test_vad_skips_what_is_not_speech(run, real_audio, tmp_path, write_tone):
    speech = next(path for path in sorted((real_audio / "ravdess").rglob("*.wav")))
    waveform, rate = soundfile.read(speech, always_2d=True)
    padded = np.concatenate([np.zeros(4 * rate), waveform.mean(axis=1), np.zeros(4 * rate)])
    noise = np.random.default_rng(0).normal(0, 0.01, len(padded))
    soundfile.write(tmp_path / "speech.wav", padded + noise, rate)
    tone = write_tone(tmp_path / "tone.wav")
    options = ["--ckpt", run, "--window", "1", "--vad", "--format", "jsonl"]
    done = predict(tmp_path / "speech.wav", tone, *options)
    speech, silent = (json.loads(line) for line in done.stdout.splitlines())
    assert 3.5 < speech["windows"][0]["start"] < speech["windows"][-1]["end"] < 8.5
    assert "no speech" in silent["error"]


def test_vad_leaves_the_number_of_threads(run):
    import torch

    from ser.inference.vad import has_speech

    threads = torch.get_num_threads()
    assert not has_speech(np.zeros(16_000, np.float32))
    assert torch.get_num_threads() == threads


def test_results_can_go_to_a_file(run, folder, tmp_path):
    done = predict(folder, "--ckpt", run, "--output", tmp_path / "out.csv", "--top-k", "1")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert (tmp_path / "out.csv").read_text().count("\n") == 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a.wav", "--ckpt", "nowhere", "--format", "parquet"], "--output=FILE"),
        (["a.wav", "--ckpt", "nowhere", "--hop", "1"], "--hop=1.0"),
        (["README.csv", "--ckpt", "nowhere"], "README.csv"),
        (["a.wav", "--ckpt", "nowhere", "--output", "a.docx"], "--output=a.docx"),
    ],
)
def test_a_mistake_is_one_line_at_once(arguments, named):
    command = [sys.executable, "-c", WATCHED, "predict", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    [message] = done.stderr.splitlines()
    assert message.startswith("error: ")
    assert named in message
    assert done.stdout == "heavy: []\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding",
    [
        "latin-1",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ascii", "cp1252")),
    ],
)
def test_pipes_and_files_are_utf_8_whatever_the_locale(run, folder, encoding):
    (folder / "a.wav").rename(folder / "日本語.wav")
    command = [sys.executable, "-m", "ser.commands.main", "predict", str(folder)]
    done = subprocess.run(
        [*command, "--ckpt", str(run), "--format", "csv"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0
    assert "日本語.wav" in done.stdout.decode("utf-8")


def test_names_that_a_spreadsheet_would_run_are_escaped(run, tmp_path, write_tone, monkeypatch):
    write_tone(tmp_path / "=1+1.wav")
    monkeypatch.chdir(tmp_path)
    done = predict("=1+1.wav", "--ckpt", run, "--format", "csv")
    assert done.stdout.splitlines()[1].startswith("'=1+1.wav,")


def test_a_model_of_synthetic_tones_is_announced(run, folder):
    assert "synthetic" in predict(folder, "--ckpt", run).stderr


@pytest.mark.slow
def test_sigterm_leaves_nothing_half_written(run, tmp_path):
    command = [sys.executable, "-m", "ser.commands.main", "predict", "-", "--ckpt", str(run)]
    waiting = subprocess.Popen(
        [*command, "--output", tmp_path / "out.jsonl"], stdin=subprocess.PIPE
    )
    while not list(tmp_path.iterdir()):
        assert waiting.poll() is None
        time.sleep(0.1)
    waiting.terminate()
    assert waiting.wait(20) == 143
    assert list(tmp_path.iterdir()) == []


def test_empty_standard_input_is_a_failure(run):
    done = CliRunner().invoke(app, ["predict", "-", "--ckpt", str(run)], input="")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == []
