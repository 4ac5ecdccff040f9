"""The full keys of all settings: their documentation for `--help`, and hints for unknown keys."""

import shutil
import sys
import textwrap
from collections import Counter
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, cast

from ser.config.callbacks import CALLBACKS, OPTIONAL_CALLBACKS
from ser.config.train import TrainConfig

COMMAND = "command"  # filled in automatically, so not for users
WIDE = 160  # columns that a setting needs in one line
# Names of settings elsewhere (transformers, scikit-learn, other trainers), for hints only.
SYNONYMS = {
    "learning_rate": "model.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "num_train_epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "per_device_train_batch_size": "data.batch_size",
    "train_batch_size": "data.batch_size",
    "bs": "data.batch_size",
    "gradient_accumulation_steps": "trainer.accumulate_grad_batches",
    "max_grad_norm": "trainer.gradient_clip_val",
    "grad_clip": "trainer.gradient_clip_val",
    "gradient_clipping": "trainer.gradient_clip_val",
    "gpus": "trainer.devices",
    "fp16": "trainer.precision",
    "bf16": "trainer.precision",
    "amp": "trainer.precision",
    "warmup": "model.warmup_ratio",
    "warmup_steps": "model.warmup_ratio",
    "lr_scheduler_type": "model.schedule",
    "scheduler": "model.schedule",
    "wd": "model.weight_decay",
    "freeze": "model.mode",
    "model_name": "model.backbone.name",
    "model_name_or_path": "model.backbone.name",
    "pretrained_model": "model.backbone.name",
    "dataset": "data.corpora",
    "corpus": "data.corpora",
    "test_size": "split.test",
    "val_size": "split.val",
    "classes": "data.labels",
    "resume": "ckpt",
    "resume_from_checkpoint": "ckpt",
    "checkpoint": "ckpt",
    "checkpoint_path": "ckpt",
    "ckpt_path": "ckpt",
    "output": "output_dir",
    "out_dir": "output_dir",
    "save_dir": "output_dir",
}


def describe_settings(kind: type, prefix: str = "") -> list[str]:
    """Each setting: its full key, its default and its meaning, below them on a narrow terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    lines, found = [], documented(kind, prefix)
    several = Counter(id(entry) for _, entry in found)  # one entry for the path of each corpus
    shown = {
        f"{key.rpartition('.')[0]}.NAME" if several[id(entry)] > 1 else key: entry
        for key, entry in found
        if key != COMMAND
    }
    for key, entry in shown.items():
        head, meaning = f"  {key:36} {show_default(entry):31}", entry.metadata["doc"]
        if width >= WIDE:
            lines.append(f"{head} {meaning}")
            continue
        indent = " " * 6
        lines.append(head.rstrip())
        lines += textwrap.wrap(meaning, width, initial_indent=indent, subsequent_indent=indent)
    return lines


def documented(kind: type, prefix: str = "") -> list[tuple[str, Field[Any]]]:
    """The documented fields of a config and of those nested in it, by full key."""
    found = []
    for entry in fields(kind):
        key = f"{prefix}{entry.name}"
        if is_dataclass(entry.default_factory):
            found += documented(cast(type, entry.default_factory), f"{key}.")
        elif "doc" in entry.metadata:
            keys = [key]
            if entry.default_factory is not MISSING and isinstance(entry.default_factory(), dict):
                keys = [f"{key}.{name}" for name in entry.default_factory()] or keys
            found += [(each, entry) for each in keys]
    return found


def show_default(entry: Field[Any]) -> str:
    if entry.default_factory is not MISSING:
        made = entry.default_factory()
        if isinstance(made, list):
            return f"[{','.join(map(str, made))}]"
        return "null" if made else "{}"
    default = str(entry.default)
    if default.startswith("${") or "default:" in entry.metadata["doc"]:
        return "(computed)"
    names = {"None": "null", "True": "true", "False": "false", "???": "(required)"}
    return names.get(default, default)


def describe_callbacks() -> list[str]:
    return [
        line
        for name, node in (CALLBACKS | OPTIONAL_CALLBACKS).items()
        for line in describe_settings(node, f"callbacks.{name}.")
    ]


def known_keys(kind: type) -> list[str]:
    """The full keys of all settings of a command."""
    keys = [key for key, _ in documented(kind)]
    if kind is TrainConfig:
        for name, node in (CALLBACKS | OPTIONAL_CALLBACKS).items():
            keys += [key for key, _ in documented(node, f"callbacks.{name}.")]
    return keys


def list_keys(kind: type) -> set[str]:
    """The full keys of the settings of a command that are lists."""
    return {key for key, entry in documented(kind) if show_default(entry).startswith("[")}


def suggest_key(unknown: str, kind: type = TrainConfig) -> str:
    """A hint such as "; did you mean model.lr?" for an unknown full key, or an empty string."""
    found = find_keys(unknown, kind)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def find_keys(unknown: str, kind: type = TrainConfig) -> list[str]:
    """The full keys that an unknown one may mean, none if there is none like it.

    The key may be misspelt, in another group (`model.batch_size`), or named as in other software
    (`learning_rate`).
    """
    keys, name = known_keys(kind), unknown.rpartition(".")[2]
    groups = {key[:end] for key in keys for end, letter in enumerate(key) if letter == "."}
    found = [key for key in keys if key.endswith(f".{unknown}")][:3]
    same = [key for key in keys if key.rpartition(".")[2] == name]
    found = found or get_close_matches(unknown, same, n=1, cutoff=0)
    found = found or [key for key in [SYNONYMS.get(name)] if key in keys]
    found = found or get_close_matches(unknown, [*keys, *groups], n=1, cutoff=0.8)
    if not found:
        names = {key.rpartition(".")[2]: key for key in reversed(keys)}
        found = [names[near] for near in get_close_matches(name, names, n=1, cutoff=0.75)]
    return found
