"""What a checkpoint says, its exports say too, in the programs that others use."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification, pipeline
from typer.testing import CliRunner, Result

from ser import Predictor, export
from ser.cli import app
from ser.labels import LABELS
from ser.parity import compare
from ser.training import train


@pytest.fixture(scope="module")
def make_run(quick_config, tmp_path_factory: pytest.TempPathFactory):
    def make_run(*overrides: str) -> Any:
        folder = tmp_path_factory.mktemp("run")
        return train(quick_config(folder, "trainer.max_steps=4", *overrides)).checkpoint

    return make_run


@pytest.fixture(scope="module")
def checkpoint(make_run) -> Path:
    path = make_run()
    stored = torch.load(path, weights_only=True)
    torch.save(stored | {"temperature": 0.5}, path)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "hf"
    done = invoke(checkpoint, "--to", "hf", "--output", folder)
    assert done.exit_code == 0, done.output
    assert "the logits differ by at most" in done.stdout
    return folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def clip(tmp_path, write_tone) -> Path:
    return write_tone(tmp_path / "clip.wav", seconds=1.1)


def test_transformers_pipeline_loads_the_folder_with_labels_and_rate(folder, checkpoint, clip):
    judge = pipeline("audio-classification", model=str(folder), top_k=None)
    waveform, rate = soundfile.read(clip, dtype="float32")
    found = {row["label"]: row["score"] for row in judge({"raw": waveform, "sampling_rate": rate})}
    assert set(found) == set(LABELS)
    [expected] = Predictor.from_checkpoint(checkpoint, "cpu", raw=True)([clip])
    assert found == pytest.approx(expected.probabilities, abs=1e-4)
    assert getattr(judge.feature_extractor, "sampling_rate", None) == 16_000


def test_the_folder_is_whole_and_in_safetensors_only(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert json.loads((folder / "config.json").read_text())["id2label"]["3"] == LABELS[3]
    assert "0.5" in (folder / "README.md").read_text()


def test_the_predictor_reads_an_exported_folder_like_its_checkpoint(folder, checkpoint, clip):
    for raw in (False, True):
        [ours] = Predictor.from_checkpoint(checkpoint, "cpu", raw=raw)([clip])
        [theirs] = Predictor.from_checkpoint(folder, "cpu", raw=raw)([clip])
        assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-6)
    assert Predictor.from_checkpoint(folder, "cpu").max_seconds == 8.0


def test_a_folder_whose_weights_are_others_fails_the_check(folder, checkpoint, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"] += 0.01
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    predictor = Predictor.from_checkpoint(checkpoint, "cpu")
    clips = [np.random.default_rng(0).normal(size=8000).astype(np.float32)]
    parity = compare(predictor.logits, export.TransformersJudge(broken), clips)
    assert parity.difference == pytest.approx(0.01, abs=1e-4)


def test_adapters_are_merged(make_run, tmp_path):
    lora = make_run("model=lora")
    assert any("lora" in name for name in torch.load(lora, weights_only=True)["state_dict"])
    done = invoke(lora, "--to", "hf", "--output", tmp_path / "hf")
    assert done.exit_code == 0, done.output
    assert not any("lora" in name for name in load_file(tmp_path / "hf" / "model.safetensors"))
    AutoModelForAudioClassification.from_pretrained(tmp_path / "hf")


def test_a_pooling_that_transformers_lacks_is_refused(make_run, tmp_path):
    checkpoint = make_run("model.pooling=attention")
    done = invoke(checkpoint, "--to", "hf", "--output", tmp_path / "hf")
    assert "model.pooling=attention, which no class of transformers computes" in str(done.exception)
    assert not (tmp_path / "hf").exists()


def test_what_is_there_is_not_overwritten(folder, checkpoint):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    done = invoke(checkpoint, "--to", "hf", "--output", folder)
    assert "exists: name a new folder" in str(done.exception)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_without_a_token_nothing_is_begun(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = invoke(checkpoint, "--to", "hf", "--output", tmp_path / "hf", "--push", "a/b")
    assert "hf auth login" in str(done.exception)
    assert not (tmp_path / "hf").exists()


def test_options_of_onnx_are_refused_elsewhere(checkpoint, tmp_path):
    done = invoke(checkpoint, "--to", "hf", "--int8", "--output", tmp_path / "hf")
    assert str(done.exception) == "--int8 and --raw are for --to=onnx."


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides", [(), ("model.pooling=statistics", "model.weighted_layers=true")]
)
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_onnx_runs_in_onnxruntime_alone(make_run, tmp_path, clip, overrides, norm):
    architecture = f"model.backbone.architecture.feat_extract_norm={norm}"
    checkpoint = make_run(architecture, *overrides)
    stored = torch.load(checkpoint, weights_only=True)
    torch.save(stored | {"temperature": 0.5}, checkpoint)
    folder = tmp_path / "onnx"
    # So little trained, statistics pooling has logits too near to each other for 8 bits.
    int8 = [] if overrides else ["--int8"]
    done = invoke(checkpoint, "--to", "onnx", *int8, "--output", folder)
    assert done.exit_code == 0, done.output
    names = {path.name for path in folder.iterdir()}
    assert names == {"labels.json", "model.onnx", *(["model_int8.onnx"] if int8 else [])}
    code = f"""
import json, sys, numpy, onnxruntime, soundfile
known = json.load(open({str(folder / "labels.json")!r}))
waveform, rate = soundfile.read({str(clip)!r}, dtype="float32")
assert rate == known["sample_rate"]
session = onnxruntime.InferenceSession({str(folder / "model.onnx")!r})
feed = dict(waveforms=waveform[None], attention_mask=numpy.ones((1, len(waveform)), "int64"))
[[row]] = session.run(["probabilities"], feed)
assert "torch" not in sys.modules and "transformers" not in sys.modules
print(json.dumps(dict(zip(known["labels"], map(float, row)))))
"""
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    [expected] = Predictor.from_checkpoint(checkpoint, "cpu")([clip])
    assert json.loads(alone.stdout) == pytest.approx(expected.probabilities, abs=1e-5), alone.stderr
    check_short_clips(folder / "model.onnx", Predictor.from_checkpoint(checkpoint, "cpu"))


def check_short_clips(model: Path, predictor: Predictor) -> None:
    """One by one, without the padding that the network needs, and in a batch with a long one."""
    from onnxruntime import InferenceSession

    session = InferenceSession(model)
    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 0.1, length).astype(np.float32) for length in (16, 1000, 3000)]
    for clip in clips:
        feed = {"waveforms": clip[None], "attention_mask": np.ones((1, len(clip)), np.int64)}
        found: Any = session.run(["logits"], feed)[0]
        np.testing.assert_allclose(found, predictor.logits([clip]), atol=1e-4)
    clips.append(generator.normal(0, 0.1, 16_000).astype(np.float32))
    values, mask = np.zeros((4, 16_000), np.float32), np.zeros((4, 16_000), np.int64)
    for row, clip in enumerate(clips):
        values[row, : len(clip)], mask[row, : len(clip)] = clip, 1
    found = session.run(["logits"], {"waveforms": values, "attention_mask": mask})[0]
    np.testing.assert_allclose(found, predictor.logits(clips), atol=1e-4)
