"""`ser predict` in process, on a tiny trained checkpoint."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from ser.cli import app
from ser.training import train

# Runs the command and then says whether anything heavy was imported on the way.
WATCHED = """
import sys
from ser.cli import main
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


def test_a_folder_is_judged_in_order_and_piped_as_json(run, folder):
    done = predict(folder, "--ckpt", run)
    assert done.exit_code == 0, done.stderr
    judged = json.loads(done.stdout)
    assert [Path(row["path"]).name for row in judged] == ["a.wav", "b.flac", "c.ogg"]
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4) for row in judged)
    assert all(row["emotion"] in row["probabilities"] for row in judged)


def test_a_bad_file_is_reported_and_the_others_go_on(run, folder):
    (folder / "aa.wav").write_bytes(b"no audio")
    done = predict(folder, folder / "none.wav", "--ckpt", run, "--format", "jsonl")
    assert done.exit_code == 1
    judged = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["error" in row for row in judged] == [False, True, False, False, True]
    assert done.stderr.count("failed: ") == 2


def test_standard_input_names_recordings_or_is_one(run, folder):
    by_name = predict("-", "--ckpt", run, stdin=f"{folder / 'a.wav'}\n".encode())
    by_content = predict("-", "--ckpt", run, stdin=(folder / "a.wav").read_bytes())
    [named], [content] = json.loads(by_name.stdout), json.loads(by_content.stdout)
    assert named["probabilities"] == content["probabilities"]
    assert content["path"] is None


def test_windows_give_a_timeline(run, tmp_path, write_tone):
    path = write_tone(tmp_path / "long.wav", seconds=4)
    done = predict(path, "--ckpt", run, "--window", "2", "--hop", "1")
    [row] = json.loads(done.stdout)
    assert [(w["start"], w["end"]) for w in row["windows"]] == [(0, 2), (1, 3), (2, 4)]
    assert row["segments"][0]["start"] == 0
    assert row["segments"][-1]["end"] == 4


def test_voice_activity_leaves_out_what_is_no_speech(run, real_audio, tmp_path, write_tone):
    speech = next(path for path in sorted((real_audio / "ravdess").rglob("*.wav")))
    waveform, rate = soundfile.read(speech, always_2d=True)
    padded = np.concatenate([np.zeros(4 * rate), waveform.mean(axis=1), np.zeros(4 * rate)])
    noise = np.random.default_rng(0).normal(0, 0.01, len(padded))
    soundfile.write(tmp_path / "speech.wav", padded + noise, rate)
    tone = write_tone(tmp_path / "tone.wav")
    options = ["--ckpt", run, "--window", "1", "--vad", "--format", "jsonl"]
    done = predict(tmp_path / "speech.wav", tone, *options)
    heard, silent = (json.loads(line) for line in done.stdout.splitlines())
    assert 3.5 < heard["windows"][0]["start"] < heard["windows"][-1]["end"] < 8.5
    assert "no speech" in silent["error"]


def test_looking_for_speech_leaves_torch_its_threads(run):
    import torch

    from ser.speech import has_speech

    threads = torch.get_num_threads()
    assert not has_speech(np.zeros(16_000, np.float32))
    assert torch.get_num_threads() == threads


def test_results_can_go_to_a_file(run, folder, tmp_path):
    done = predict(folder, "--ckpt", run, "--output", tmp_path / "out.csv", "--top-k", "1")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert (tmp_path / "out.csv").read_text().count("\n") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "--ckpt", "nowhere", "--format", "parquet"], "error: --format=parquet needs a file: --output=FILE"),
        (["a.wav", "--ckpt", "nowhere", "--hop", "1"], "error: --hop=1.0: needs --window."),
        (["README.csv", "--ckpt", "nowhere"], "error: [Errno 2] No such file or directory: 'README.csv'"),
        (["a.wav", "--ckpt", "nowhere", "--output", "a.txt"], "error: --output=a.txt: end it in .json, .jsonl, .csv, .parquet, or give --format"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_at_once(arguments, message):
    command = [sys.executable, "-c", WATCHED, "predict", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == message
    assert done.stdout == "heavy: []\n"


def test_a_model_of_tones_says_so(run, folder):
    assert "it knows no speech" in predict(folder, "--ckpt", run).stderr


def test_sigterm_leaves_nothing_half_written(run, tmp_path):
    command = [sys.executable, "-m", "ser.cli", "predict", "-", "--ckpt", str(run)]
    waiting = subprocess.Popen(
        [*command, "--output", tmp_path / "out.jsonl"], stdin=subprocess.PIPE
    )
    while not list(tmp_path.iterdir()):
        assert waiting.poll() is None
        time.sleep(0.1)
    waiting.terminate()
    assert waiting.wait(20) == 143
    assert list(tmp_path.iterdir()) == []
