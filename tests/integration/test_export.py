"""Exports give the predictions of their checkpoint in the programs that others use."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification, pipeline
from typer.testing import CliRunner, Result

from ser import Predictor
from ser.commands.main import app
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.export import hf_export as export
from ser.inference.parity import compare
from ser.training.train import train

DOCS = Path(__file__).parents[2] / "docs" / "export.md"


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
    classify = pipeline("audio-classification", model=str(folder), top_k=None)
    waveform, rate = soundfile.read(clip, dtype="float32")
    found = {
        row["label"]: row["score"] for row in classify({"raw": waveform, "sampling_rate": rate})
    }
    assert set(found) == set(LABELS)
    [expected] = Predictor.from_checkpoint(checkpoint, "cpu")([clip])
    assert found == pytest.approx(expected.probabilities, abs=1e-4)
    assert getattr(classify.feature_extractor, "sampling_rate", None) == 16_000


def test_the_folder_is_complete_and_in_safetensors_only(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert json.loads((folder / "config.json").read_text())["id2label"]["3"] == LABELS[3]
    assert "0.5" in (folder / "README.md").read_text()


def test_the_predictor_reads_an_exported_folder_like_its_checkpoint(folder, checkpoint, clip):
    [ours] = Predictor.from_checkpoint(checkpoint, "cpu")([clip])
    for raw in (False, True):  # calibration is in the weights
        [theirs] = Predictor.from_checkpoint(folder, "cpu", raw=raw)([clip])
        assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-6)
    assert Predictor.from_checkpoint(folder, "cpu").max_seconds == 8.0


def test_raw_exports_keep_the_classifier_and_the_temperature(checkpoint, tmp_path, clip):
    done = invoke(checkpoint, "--to", "hf", "--raw", "--output", tmp_path / "raw")
    assert done.exit_code == 0, done.output
    for raw in (False, True):
        [ours] = Predictor.from_checkpoint(checkpoint, "cpu", raw=raw)([clip])
        [theirs] = Predictor.from_checkpoint(tmp_path / "raw", "cpu", raw=raw)([clip])
        assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-6)


def test_exported_files_have_the_permissions_of_new_files(folder, tmp_path):
    (tmp_path / "new").touch()
    ordinary = (tmp_path / "new").stat().st_mode
    assert {file.stat().st_mode for file in folder.iterdir()} == {ordinary}


def test_changed_weights_of_an_exported_folder_are_noticed(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "copied")
    weights = bytearray((copied / "model.safetensors").read_bytes())
    weights[-1000] ^= 1
    (copied / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match="checksum"):
        Predictor.from_checkpoint(copied, "cpu")


def test_without_a_description_of_the_input_the_default_is_used(folder, tmp_path, clip, caplog):
    copied = shutil.copytree(folder, tmp_path / "copied")
    (copied / "preprocessor_config.json").unlink()
    [expected] = Predictor.from_checkpoint(folder, "cpu")([clip])
    [found] = Predictor.from_checkpoint(copied, "cpu")([clip])
    assert found.probabilities == expected.probabilities
    assert "preprocessor_config.json" in caplog.text


def test_a_folder_with_other_weights_fails_the_parity_check(folder, checkpoint, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"] += 0.01
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    predictor = Predictor.from_checkpoint(checkpoint, "cpu")
    clips = [np.random.default_rng(0).normal(size=8000).astype(np.float32)]
    runner = export.TransformersRunner(broken)
    parity = compare(lambda each: predictor.logits(each) / predictor.temperature, runner, clips)
    assert parity.difference == pytest.approx(0.01, abs=1e-4)


@pytest.mark.slow
def test_adapters_are_merged(make_run, tmp_path):
    lora = make_run("model=lora")
    assert any("lora" in name for name in torch.load(lora, weights_only=True)["state_dict"])
    done = invoke(lora, "--to", "hf", "--output", tmp_path / "hf")
    assert done.exit_code == 0, done.output
    assert not any("lora" in name for name in load_file(tmp_path / "hf" / "model.safetensors"))
    AutoModelForAudioClassification.from_pretrained(tmp_path / "hf")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        (["model.pooling=attention"], "model.pooling=attention"),
        (["model=linear", "model.pooling=mean", "model.fit=lda"], "model.projector=false"),
    ],
)
def test_settings_that_transformers_lacks_are_refused(make_run, tmp_path, overrides, setting):
    checkpoint = make_run(*overrides)
    done = invoke(checkpoint, "--to", "hf", "--output", tmp_path / "hf")
    assert isinstance(done.exception, UserError)
    assert setting in str(done.exception)
    assert not (tmp_path / "hf").exists()


def test_a_full_disk_names_the_folder_and_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fail)
    with pytest.raises(OSError, match="No space") as caught:
        export.export_hugging_face(str(checkpoint), tmp_path / "out")
    assert caught.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(folder, checkpoint):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    done = invoke(checkpoint, "--to", "hf", "--output", folder)
    assert "exists: name a new folder" in str(done.exception)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_a_push_without_a_token_writes_nothing(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = invoke(checkpoint, "--to", "hf", "--output", tmp_path / "hf", "--push", "a/b")
    assert "hf auth login" in str(done.exception)
    assert not (tmp_path / "hf").exists()


def test_options_of_onnx_are_refused_for_other_formats(checkpoint, tmp_path):
    done = invoke(checkpoint, "--to", "hf", "--int8", "--output", tmp_path / "hf")
    assert isinstance(done.exception, UserError)
    assert "--to=onnx" in str(done.exception)


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
    folder = tmp_path / "exported-onnx"
    # After so little training, the logits of the other networks differ too little for 8 bits.
    int8 = ["--int8"] if norm == "group" and not overrides else []
    done = invoke(checkpoint, "--to", "onnx", *int8, "--output", folder)
    assert done.exit_code == 0, done.output
    described = {"labels.json", "config.json", "preprocessor_config.json", "onnx"}
    assert {path.name for path in folder.iterdir()} == described
    models = {"model.onnx", *(["model_quantized.onnx"] if int8 else [])}
    assert {path.name for path in (folder / "onnx").iterdir()} == models
    shutil.copy(clip, tmp_path / "speech.wav")
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code is not None
    alone = "import sys; assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code[1]}\n{alone}"], capture_output=True, text=True, cwd=tmp_path
    )
    [expected] = Predictor.from_checkpoint(checkpoint, "cpu")([clip])
    label, probability = done.stdout.split()
    assert label == expected.emotion, done.stderr
    assert float(probability) == pytest.approx(max(expected.probabilities.values()), abs=1e-5)
    check_short_clips(folder / "onnx" / "model.onnx", Predictor.from_checkpoint(checkpoint, "cpu"))


@pytest.mark.slow
def test_onnx_runs_in_transformers_js_as_documented(make_run, tmp_path, clip):
    modules = os.environ.get("SER_NODE_MODULES")  # a node_modules folder with transformers.js
    if modules is None or shutil.which("node") is None:
        pytest.skip("needs node, and transformers.js in $SER_NODE_MODULES")
    checkpoint = make_run()
    done = invoke(checkpoint, "--to", "onnx", "--output", tmp_path / "exported-onnx")
    assert done.exit_code == 0, done.output
    (tmp_path / "node_modules").symlink_to(modules)
    waveform, _ = soundfile.read(clip, dtype="float32")
    (tmp_path / "speech.f32").write_bytes(waveform.tobytes())
    code = re.search(r"```js\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code is not None
    read = 'const waveform = new Float32Array(readFileSync("speech.f32").buffer.slice());'
    header = 'import { readFileSync } from "node:fs";\n' + read + "\n"
    (tmp_path / "run.mjs").write_text(header + code[1].replace("q8", "fp32"))
    done = subprocess.run(["node", "run.mjs"], capture_output=True, text=True, cwd=tmp_path)
    found = {each["label"]: each["score"] for each in json.loads(done.stdout.splitlines()[-1])}
    [expected] = Predictor.from_checkpoint(checkpoint, "cpu")([clip])
    assert found == pytest.approx(expected.probabilities, abs=1e-5), done.stderr


def check_short_clips(model: Path, predictor: Predictor) -> None:
    """Short clips alone, without the padding that the network needs, and in a batch with a long one."""
    from onnxruntime import InferenceSession

    session = InferenceSession(model)
    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 0.1, length).astype(np.float32) for length in (16, 1000, 3000)]
    for clip in clips:
        feed = {"input_values": clip[None], "attention_mask": np.ones((1, len(clip)), np.int64)}
        found: Any = session.run(["logits"], feed)[0]
        np.testing.assert_allclose(
            found, predictor.logits([clip]) / predictor.temperature, atol=1e-4
        )
    clips.append(generator.normal(0, 0.1, 16_000).astype(np.float32))
    values, mask = np.zeros((4, 16_000), np.float32), np.zeros((4, 16_000), np.int64)
    for row, clip in enumerate(clips):
        values[row, : len(clip)], mask[row, : len(clip)] = clip, 1
    found = session.run(["logits"], {"input_values": values, "attention_mask": mask})[0]
    np.testing.assert_allclose(found, predictor.logits(clips) / predictor.temperature, atol=1e-4)
