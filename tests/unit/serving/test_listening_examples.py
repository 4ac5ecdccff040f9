"""Examples of the demo: the user's, the run's, or tones."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile

from ser.errors import UserError
from ser.serving.examples import (
    MOST,
    find_examples,
    folder_examples,
    synthetic_examples,
    validation_recordings,
)

COLUMNS = ["emotion", "corpus", "split", "start", "end", "path"]


@pytest.fixture
def write_run(tmp_path, write_tone):
    """A run folder whose manifest has these rows; a row without a path gets a file."""

    def write_run(*rows: dict[str, str]) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        with (run / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for number, row in enumerate(rows):
                path = row.get("path") or write_tone(tmp_path / f"{number}.wav", 200 + number)
                writer.writerow({"start": "", "end": "", "split": "val", **row, "path": path})
        return run

    return write_run


def test_one_validation_recording_is_offered_for_each_emotion(write_run, tmp_path):
    run = write_run(
        {"emotion": "sad", "corpus": "ravdess", "split": "train"},
        {"emotion": "sad", "corpus": "ravdess"},
        {"emotion": "sad", "corpus": "ravdess"},
        {"emotion": "angry", "corpus": "tess", "split": "test"},
        {"emotion": "happy", "corpus": "cremad"},
    )
    assert validation_recordings(run) == [
        ("sad", "ravdess", tmp_path / "1.wav"),
        ("happy", "cremad", tmp_path / "4.wav"),
    ]


def test_only_whole_files_that_may_be_played_and_still_exist_are_offered(write_run):
    run = write_run(
        {"emotion": "sad", "corpus": "savee"},  # by registration
        {"emotion": "calm", "corpus": "my_table"},  # terms unknown
        {"emotion": "fear", "corpus": "ravdess", "start": "0.5", "end": "1.5"},
        {"emotion": "happy", "corpus": "ravdess", "path": "/gone.wav"},
        {"emotion": "", "corpus": "ravdess"},
    )
    assert validation_recordings(run) == []


@pytest.mark.parametrize("content", [None, b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"unfinished'])
def test_a_run_without_a_readable_manifest_has_no_examples(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.csv").write_bytes(content)
    assert validation_recordings(tmp_path) == []
    assert validation_recordings(tmp_path / "gone") == []


def test_a_folder_of_the_user_comes_first_and_is_bounded(tmp_path, write_tone):
    for number in range(MOST + 5):
        write_tone(tmp_path / "clips" / f"{number:02}.wav")
    (tmp_path / "clips" / "notes.txt").write_text("x")
    examples = folder_examples(tmp_path / "clips")
    assert [each.name for each in examples] == [f"{number:02}.wav" for number in range(MOST)]
    assert soundfile.info(io.BytesIO(examples[0].read())).duration == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_recordings_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="--examples"):
        folder_examples(tmp_path / name)


def test_tones_are_offered_for_the_emotions_of_the_model():
    examples = synthetic_examples(["sad", "angry", "boredom"])
    assert [each.name.split()[0] for each in examples] == ["sad", "angry"]
    contents = {each.read() for each in examples}
    assert len(contents) == 2
    assert all(soundfile.info(io.BytesIO(each)).samplerate == 16_000 for each in contents)


@dataclass
class Model:
    synthetic: bool
    labels: tuple[str, ...] = ("sad", "happy")


def test_examples_fit_the_model(write_run, tmp_path):
    run = write_run({"emotion": "sad", "corpus": "ravdess"})
    (run / "checkpoints").mkdir()
    checkpoint = run / "checkpoints" / "best.ckpt"
    checkpoint.touch()
    real: Any = Model(synthetic=False)
    tones: Any = Model(synthetic=True)
    for ckpt in (run, checkpoint, str(checkpoint)):
        assert [each.name for each in find_examples(real, ckpt, None)] == ["sad, RAVDESS (speech)"]
    assert len(find_examples(tones, run, None)) == 2
    assert find_examples(real, "owner/name", None) == []
    assert len(find_examples(real, run, tmp_path)) == 1
