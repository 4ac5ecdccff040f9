"""What is given as a checkpoint and is none gets one message that says what to name."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from ser.config.backbone import BackboneConfig
from ser.config.hub import require_model, without_address
from ser.errors import UserError
from ser.inference.load import load_trained

EXPORTED = Path(__file__).parents[2] / "golden/v0.1/exported"
RUN = Path(__file__).parents[2] / "golden/v0.1/full"


def trainer_output(folder: Path) -> Path:
    for step in (500, 1000, 90):
        shutil.copytree(EXPORTED, folder / f"checkpoint-{step}")
    return folder


def adapter(folder: Path) -> Path:
    folder.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "owner/base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file({"lora_A": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")
    return folder


def adapter_with_config(folder: Path) -> Path:
    shutil.copy(EXPORTED / "config.json", adapter(folder))
    return folder


def pickled(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(EXPORTED / "config.json", folder)
    torch.save({}, folder / "pytorch_model.bin")
    return folder


def weights_alone(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(EXPORTED / "model.safetensors", folder)
    return folder


def unfinished_run(folder: Path) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(RUN / "checkpoints/last.ckpt", folder / "checkpoints")
    return folder


def sweep(folder: Path) -> Path:
    for number in "01":
        (folder / number / "checkpoints").mkdir(parents=True)
        shutil.copy(RUN / "checkpoints/best.ckpt", folder / number / "checkpoints")
    return folder


def onnx(file: Path) -> Path:
    file.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.9.0" + bytes(range(200)))
    return file


def text(file: Path) -> Path:
    file.write_text("a list of checkpoints\n")
    return file


def recording(file: Path) -> Path:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(100), 16_000, format="WAV")
    file.write_bytes(buffer.getvalue())
    return file


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (trainer_output, "checkpoint-1000"),
        (adapter, "owner/base"),
        (adapter_with_config, "owner/base"),
        (pickled, "safetensors"),
        (weights_alone, "config.json"),
        (unfinished_run, "last.ckpt"),
        (sweep, "given.ckpt/0"),
        (onnx, "ONNX"),
        (text, "text"),
        (recording, "--ckpt"),
        (lambda path: adapter(path) / "adapter_model.safetensors", "owner/base"),
        (lambda path: trainer_output(path) / "checkpoint-90/model.safetensors", "checkpoint-90"),
        (lambda path: trainer_output(path) / "checkpoint-90/config.json", "checkpoint-90"),
    ],
)
def test_each_mistake_names_the_source_and_what_to_name(
    tmp_path: Path, make: Callable[[Path], Path], words: str
):
    source = make(tmp_path / "given.ckpt")
    with pytest.raises(UserError) as raised:
        load_trained(source)
    assert str(source) in str(raised.value)
    assert words in str(raised.value).replace(str(source), "", 1)


def test_what_the_messages_advise_is_loaded(tmp_path):
    assert load_trained(trainer_output(tmp_path / "a") / "checkpoint-1000").labels
    assert load_trained(sweep(tmp_path / "b") / "0").labels
    assert load_trained(unfinished_run(tmp_path / "c") / "checkpoints/last.ckpt").labels


def test_another_number_of_labels_is_named(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(EXPORTED, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(n): f"l{n}" for n in range(len(config["id2label"]) + 3)}
    config["label2id"] = {name: int(n) for n, name in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="id2label"):
        load_trained(folder)


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 2, 3), (-1, 0, 1)])
def test_labels_with_other_numbers_are_named(tmp_path, numbers):
    folder = shutil.copytree(EXPORTED, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    names = list(config["id2label"].values())
    last = numbers[-1] + 1
    given = [*numbers, *range(last, last + len(names) - 3)]
    config["id2label"] = {str(n): name for n, name in zip(given, names, strict=True)}
    config["label2id"] = {name: n for n, name in zip(given, names, strict=True)}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="numbered"):
        load_trained(folder)


def test_weights_that_are_not_finite_are_named(tmp_path):
    folder = shutil.copytree(EXPORTED, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"classifier\.bias"):
        load_trained(folder)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf://owner/name", "owner/name"),
        ("hf:/owner/name", "owner/name"),
        ("https://huggingface.co/owner/name", "owner/name"),
        ("https://huggingface.co/owner/name/tree/main", "owner/name"),
        ("https://hf.co/owner/name-1.0/", "owner/name-1.0"),
        ("owner/name", "owner/name"),
        ("runs/a", "runs/a"),
        ("hf://owner", "hf://owner"),
        ("https://example.org/owner/name", "https://example.org/owner/name"),
    ],
)
def test_addresses_of_the_hub(source, expected):
    assert without_address(source) == expected


@pytest.mark.parametrize(
    "name", ["o/n", "my-org/a.model_2", "hf://o/n", "https://hf.co/o/n/tree/main"]
)
def test_names_of_the_hub_may_be_models(name):
    require_model("ckpt", name)


@pytest.mark.parametrize("name", ["runs/none", "./o/n", "~/n", "n", "a/b/c", "o/n@main"])
def test_other_names_need_a_file_or_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="ckpt"):
        require_model("ckpt", name)


def test_a_folder_of_the_same_name_does_not_hide_a_backbone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "facebook").mkdir()
    BackboneConfig("facebook/wav2vec2-base").check_files()
