"""Explain what was passed as a checkpoint but is not one, and what to pass instead."""

import json
import re
from pathlib import Path

from ser.audio.sniff import is_recording
from ser.system.files import LFS_POINTER

CONFIG, ADAPTER = "config.json", "adapter_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TRAINER = re.compile(r"checkpoint-(\d+)")
HEAD = 512  # bytes that tell text from other files


def explain_file(path: Path) -> str:
    """Why a file is no checkpoint, by its content; "" if it may be one."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    folder = path.parent
    named = f"name its folder, {folder}" if (folder / CONFIG).is_file() else "name a folder with it"
    if (folder / ADAPTER).is_file() and path.suffix in (".safetensors", ".json"):
        return f"is a part of an adapter: {explain_adapter(folder)}"
    if head[8:10] == b'{"' or path.suffix == ".safetensors":
        return f"holds weights without their {CONFIG}: {named}"
    if path.name == CONFIG:
        return f"describes a model without its weights: {named}"
    if path.suffix == ".onnx" or re.match(rb"\x08[\x03-\x20][\x12:]", head):
        return "is an ONNX model, which `ser` cannot load: name the run it was exported from"
    if head.startswith(b"\x80"):
        return "is pickled, which could run code: name a run folder, or a folder with safetensors"
    if head.startswith(b"GGUF"):
        return "is a file of another program: name a run folder, or a folder with safetensors"
    if is_recording(path):
        return "is a recording: name the checkpoint with --ckpt, and the recordings without it"
    if head and not head.startswith(LFS_POINTER) and is_text(head):
        return "is a text file: name a run folder, a .ckpt, an exported folder, or OWNER/NAME"
    return ""


def is_text(head: bytes) -> bool:
    return not re.search(rb"[\0-\x08\x0e-\x1f]", head)


def explain_folder(path: Path) -> str:
    """Why a folder is neither a run nor an exported model; "" if it may be one."""
    whole = any((path / name).is_file() for name in WEIGHTS)
    if (path / ADAPTER).is_file() and not whole:
        return f"is an adapter: {explain_adapter(path)}"
    if (path / CONFIG).is_file():
        return "" if whole else f"has no model.safetensors beside {CONFIG}: {explain_weights(path)}"
    if whole:
        return f"has weights, but no {CONFIG}: copy it from the same source"
    if (last := path / "checkpoints" / "last.ckpt").is_file():
        return f"is a run without its best checkpoint: name {last}, or finish the run"
    if any((path / name).is_file() for name in ("dropped.csv", "manifest.csv", "provenance.json")):
        return "has no checkpoint: name a run folder that has checkpoints/best.ckpt"
    found = {int(match[1]): each for each in path.glob("checkpoint-*")
             if (match := TRAINER.fullmatch(each.name)) and each.is_dir()}  # fmt: skip
    if found:
        newest = found[max(found)]
        return (
            f"is the output of a Trainer with {len(found):,} checkpoints: name one of them, such as"
            f" {newest}"
        )
    runs = sorted(path.glob("*/checkpoints/best.ckpt"))
    if runs:
        return f"holds {len(runs):,} runs: name one of them, such as {runs[0].parent.parent}"
    return ""


def explain_adapter(folder: Path) -> str:
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = "its base model"
    return (
        f"merge it into {base} with peft (`merge_and_unload`, then `save_pretrained`), and name the"
        " folder that this writes"
    )


def explain_weights(path: Path) -> str:
    """What the weights of an exported folder are instead of safetensors."""
    if list(path.glob("**/*.onnx")):
        return "`ser` cannot load its ONNX model; name the run it was exported from"
    if list(path.glob("*.bin")) or list(path.glob("*.pt")):
        return (
            "its weights are pickled, which could run code; load and save the model with"
            " transformers (`save_pretrained`), which writes safetensors"
        )
    return "copy or download it again"
