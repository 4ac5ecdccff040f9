"""`ser listen` with a microphone that plays samples from memory."""

import json
import sys
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from typer.testing import CliRunner

from ser.commands.listen import as_json, show_line
from ser.commands.main import app
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.inference import enrolment
from ser.inference.load import TrainedModel
from ser.inference.microphone import import_sounddevice, listen, open_microphone
from ser.inference.predictor import Predictor
from ser.inference.settings import WindowConfig

RATE = 16_000
TONE = (0.3 * np.sin(np.arange(5 * RATE) * 0.1)).astype(np.float32)
SPEECH = np.concatenate([TONE[: 3 * RATE], np.zeros(2 * RATE, np.float32)])


class PortAudioError(Exception):
    pass


def make_library(samples, block):
    """A module with the parts of sounddevice that we use; it plays all samples at once."""

    class InputStream:
        def __init__(self, samplerate, *, device, channels, callback):
            assert channels == 1
            self.callback = callback

        def __enter__(self):
            for start in range(0, len(samples), block):
                piece = samples[start : start + block, None]
                self.callback(piece, len(piece), None, None)

        def __exit__(self, *error):
            pass

    def query_devices(device, kind):
        if device == "none":
            raise ValueError("No input device matching 'none'")
        return {"default_samplerate": float(RATE)}

    return SimpleNamespace(
        InputStream=InputStream, query_devices=query_devices, PortAudioError=PortAudioError
    )


@pytest.fixture
def library(monkeypatch):
    def use(samples=SPEECH, block=800):
        monkeypatch.setitem(sys.modules, "sounddevice", make_library(samples, block))

    return use


SILENT = cast(Predictor, None)  # nothing is evaluated for silence


def test_windows_are_evaluated_as_in_a_recording(library, tiny_predictor):
    library(block=len(TONE), samples=TONE[: 2 * RATE])
    with open_microphone() as microphone:
        [result] = listen(microphone, tiny_predictor, WindowConfig(2, 1), seconds=2)
    [expected] = tiny_predictor([(TONE[: 2 * RATE], RATE)])
    assert result.prediction is not None
    assert result.prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    assert (result.start, result.end, result.skipped) == (0, 2, 0)
    assert result.latency >= 0


def test_the_newest_window_is_evaluated_and_the_skipped_ones_are_counted(library):
    library()  # all blocks have arrived before the first is read
    with open_microphone() as microphone:
        [result] = listen(microphone, SILENT, WindowConfig(1, 1), seconds=5)
    assert (result.start, result.skipped) == (4, 4)
    assert result.prediction is None  # silent


def test_the_last_window_ends_with_the_recording(library):
    library(block=RATE // 2)
    with open_microphone() as microphone:
        results = list(listen(microphone, SILENT, WindowConfig(3, 1), seconds=0))
        assert results == []
        library(block=RATE // 2, samples=0 * TONE)
    with open_microphone() as microphone:
        [result] = listen(microphone, SILENT, WindowConfig(3, 1), seconds=1.25)
    assert (result.start, result.end) == (0, 1.25)


def test_a_window_that_the_network_cannot_take_is_an_error(library, make_network, monkeypatch):
    whisper = {"model_type": "whisper", "d_model": 32, "encoder_layers": 1}
    whisper |= {"encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    model = TrainedModel("tiny", make_network(whisper).eval(), False, tuple(LABELS), None, 8.0)
    monkeypatch.setattr(Predictor, "from_checkpoint", lambda *_, **__: Predictor(model, "cpu"))
    library()
    done = CliRunner().invoke(app, ["listen", "--ckpt", ".", "--window", "31"])
    assert isinstance(done.exception, UserError)
    assert "window" in str(done.exception)


def test_the_command_writes_json_lines(library, tiny_predictor, monkeypatch):
    library()
    monkeypatch.setattr(Predictor, "from_checkpoint", lambda *_, **__: tiny_predictor)
    arguments = ["listen", "--ckpt", ".", "--window", "2", "--hop", "0.5", "--seconds", "2.5"]
    adapted = []
    monkeypatch.setattr(enrolment, "adapt_to", lambda *given: adapted.append(given))
    done = CliRunner().invoke(app, [*arguments, "--speaker", "anna"])
    assert done.exit_code == 0, done.stderr
    assert adapted == [(tiny_predictor, "anna", ".")]
    [line] = map(json.loads, done.stdout.splitlines())
    assert (line["start"], line["end"], line["skipped"]) == (0.5, 2.5, 1)
    assert line["emotion"] in line["probabilities"]


def test_an_unknown_microphone_is_an_error_of_the_user(library):
    library()
    with pytest.raises(UserError, match="--input"), open_microphone("none"):
        pass


def test_a_missing_library_is_an_error_of_the_user(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match="sounddevice"):
        import_sounddevice()


@pytest.mark.parametrize("above", [True, False])
def test_a_window_below_the_threshold_is_abstained_from(
    library, tiny_predictor, monkeypatch, above
):
    library(block=len(TONE), samples=TONE[: 2 * RATE])
    [expected] = tiny_predictor([(TONE[: 2 * RATE], RATE)])
    highest = max(expected.probabilities.values())
    threshold = highest + (1e-3 if above else -1e-3)
    monkeypatch.setattr(tiny_predictor, "threshold", threshold)
    with open_microphone() as microphone:
        [result] = listen(microphone, tiny_predictor, WindowConfig(2, 1), seconds=2)
    assert result.abstained == above
    assert (json.loads(as_json(result))["emotion"] is None) == above
    assert ("not confident" in show_line(result)) == above
