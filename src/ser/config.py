"""Every setting of ours once: its type, default, unit and rule.

The dataclasses are Hydra's schema, so a typo or a wrong type stops at compose with its full key;
rules between values live in `__post_init__` and quote the key as the user types it. Nothing heavy
is imported here, and Hydra only inside the functions that talk to it.
"""

import json
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

from ser.corpora import CORPORA

Config = TypeVar("Config")


class Padding(StrEnum):
    dynamic = "dynamic"
    uniform = "uniform"


class SplitKind(StrEnum):
    stratified = "stratified"
    speaker = "speaker"


class Schedule(StrEnum):
    linear = "linear"
    cosine = "cosine"
    constant = "constant"


class Part(StrEnum):
    train = "train"
    val = "val"
    test = "test"


def setting(default: Any, doc: str) -> Any:
    """A dataclass field whose one-line documentation `--help` shows."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


def group(kind: type) -> Any:
    return field(default_factory=kind)


def require(condition: bool, key: str, value: object, rule: str) -> None:
    if not condition:
        raise ValueError(f"{key}={value}: {rule}.")


def suggest(word: str, known: list[str]) -> str:
    """A hint like "; did you mean 'ravdess'?", or nothing where no known word is near."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


@dataclass
class DataConfig:
    corpora: list[str] = setting(list(CORPORA), "which corpora are merged")
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "a local copy of a corpus: read there, never from the network"
    )
    synthetic: str | None = setting(
        None, "folder of synthetic stand-ins (written when missing) read in place of the corpora"
    )
    cache_dir: str = setting("${oc.env:SER_CACHE,'~/.cache/ser'}", "decoded audio, shared by runs; the environment's SER_CACHE or ~/.cache/ser")
    max_seconds: float = setting(8.0, "longer utterances are trimmed to this")
    padding: Padding = setting(Padding.dynamic, "dynamic: to the batch; uniform: to max_seconds")
    batch_size: int = setting(16, "utterances a batch, per device")
    num_workers: int = setting(0, "loader processes; reading the cache costs well under 1 ms a clip")

    def __post_init__(self) -> None:
        known = list(CORPORA)
        require(bool(self.corpora), "data.corpora", "[]", f"name at least one of {known}")
        for name in [*self.corpora, *self.paths]:
            if name not in CORPORA:
                hint = suggest(name, known)
                raise ValueError(f"data.corpora: {name!r} is none of {known}{hint}")
        repeated = len(set(self.corpora)) < len(self.corpora)
        require(not repeated, "data.corpora", self.corpora, "names a corpus twice")
        for name in self.corpora:
            folder = self.paths.get(name)
            found = folder is None or Path(folder).expanduser().is_dir()
            require(found, f"data.paths.{name}", folder, "no such folder")
        require(self.max_seconds >= 0.25, "data.max_seconds", self.max_seconds, "at least 0.25 s")
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        require(self.num_workers >= 0, "data.num_workers", self.num_workers, "0 or more")


@dataclass
class SplitConfig:
    kind: SplitKind = setting(
        SplitKind.stratified, "stratified: by label; speaker: no speaker in two parts"
    )
    val: float = setting(0.2, "share of the validation part")
    test: float = setting(0.1, "share of the test part; the rest is for training")
    seed: int = setting(0, "of the split alone, so that `seed` can vary over one split")

    def __post_init__(self) -> None:
        for key, share in (("split.val", self.val), ("split.test", self.test)):
            require(0 < share < 1, key, share, "a share between 0 and 1")
        total = self.val + self.test
        require(total < 1, "split.val+split.test", total, "must leave something for training")
        require(self.seed >= 0, "split.seed", self.seed, "0 or more")


@dataclass
class BackboneConfig:
    name: str = setting("facebook/wav2vec2-large-xlsr-53", "Hugging Face hub name or local folder")
    revision: str | None = setting(None, "branch, tag or commit on the hub")
    pretrained: bool = setting(True, "false: the same architecture with random weights, offline")
    layerdrop: float = setting(0.0, "probability of skipping a transformer layer in training")
    mask_time_prob: float = setting(0.05, "SpecAugment: share of time steps masked in training")
    mask_feature_prob: float = setting(0.0, "SpecAugment: share of channels masked in training")
    architecture: dict[str, Any] = setting({}, "model configuration used where pretrained=false")

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "model.backbone.name", repr(self.name), "is empty")
        for key in ("layerdrop", "mask_time_prob", "mask_feature_prob"):
            share = getattr(self, key)
            require(0 <= share < 1, f"model.backbone.{key}", share, "at least 0 and below 1")


@dataclass
class ModelConfig:
    backbone: BackboneConfig = group(BackboneConfig)
    freeze_feature_encoder: bool = setting(True, "keep the convolutional front end as it is")
    lr: float = setting(3e-5, "peak learning rate of AdamW")
    weight_decay: float = setting(0.01, "of AdamW; not on norms and biases")
    schedule: Schedule = setting(Schedule.linear, "learning rate after the warm-up")
    warmup_ratio: float = setting(0.1, "share of all steps in which the learning rate rises")
    label_smoothing: float = setting(0.0, "of the cross-entropy")

    def __post_init__(self) -> None:
        require(self.lr > 0, "model.lr", self.lr, "must be above 0")
        require(self.weight_decay >= 0, "model.weight_decay", self.weight_decay, "0 or more")
        for key in ("warmup_ratio", "label_smoothing"):
            share = getattr(self, key)
            require(0 <= share < 1, f"model.{key}", share, "at least 0 and below 1")


ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")


@dataclass
class TrainerConfig:
    """The arguments of `lightning.Trainer`; a test holds the names against its signature."""

    _target_: str = "lightning.Trainer"
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    devices: Any = setting("auto", "how many devices, a list of them, or auto")
    strategy: str = setting("auto", "auto, ddp, fsdp, ...")
    num_nodes: int = setting(1, "machines")
    precision: str = setting("auto", "auto: bf16-mixed where the device has it; " + "|".join(PRECISIONS[1:]))
    max_epochs: int = setting(20, "-1 for no limit")
    min_epochs: int | None = setting(None, "train at least so many")
    max_steps: int = setting(-1, "optimiser steps; -1 for no limit")
    max_time: str | None = setting(None, "DD:HH:MM:SS, then stop")
    accumulate_grad_batches: int = setting(1, "batches added up before a step")
    gradient_clip_val: float | None = setting(1.0, "largest gradient norm")
    val_check_interval: Any = setting(None, "validate every so many batches, or share of an epoch")
    check_val_every_n_epoch: int = setting(1, "validate every so many epochs")
    limit_train_batches: Any = setting(None, "use only so many batches, or that share")
    limit_val_batches: Any = setting(None, "use only so many batches, or that share")
    overfit_batches: Any = setting(0, "train and validate on the same few batches")
    fast_dev_run: Any = setting(False, "one batch of everything, nothing saved")
    num_sanity_val_steps: int = setting(0, "validation batches before training")
    log_every_n_steps: int = setting(10, "training scalars to TensorBoard")
    enable_model_summary: bool = setting(False, "print the layers")
    deterministic: Any = setting(None, "true, warn: only reproducible kernels")
    benchmark: bool | None = setting(None, "let cuDNN search for kernels")
    detect_anomaly: bool = setting(False, "slow: where a NaN comes from")
    profiler: str | None = setting(None, "simple, advanced, pytorch")
    use_distributed_sampler: bool = setting(False, "our sampler shares the work out itself")
    callbacks: Any = "${oc.dict.values:callbacks}"
    logger: Any = "${oc.dict.values:logger}"

    def __post_init__(self) -> None:
        for key, known in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            value = getattr(self, key)
            require(value in known, f"trainer.{key}", value, f"is none of {', '.join(known)}")
        require(valid_devices(self.devices), "trainer.devices", self.devices, "is no count, list or auto")
        require(self.max_epochs >= -1, "trainer.max_epochs", self.max_epochs, "-1 or more")
        require(self.max_steps >= -1, "trainer.max_steps", self.max_steps, "-1 or more")
        batches = self.accumulate_grad_batches
        require(batches >= 1, "trainer.accumulate_grad_batches", batches, "at least 1")
        clip = self.gradient_clip_val
        require(clip is None or clip > 0, "trainer.gradient_clip_val", clip, "above 0, or null")


def valid_devices(devices: object) -> bool:
    if isinstance(devices, int) and not isinstance(devices, bool):
        return devices == -1 or devices >= 1
    if isinstance(devices, list):
        return bool(devices) and all(isinstance(index, int) and index >= 0 for index in devices)
    return isinstance(devices, str) and (devices == "auto" or devices.replace(",", "").isdigit())


@dataclass
class CheckpointConfig:
    _target_: str = "lightning.pytorch.callbacks.ModelCheckpoint"
    dirpath: str = setting("${output_dir}/checkpoints", "folder of best.ckpt and last.ckpt")
    filename: str = "best"
    monitor: str = setting("val/uar", "what the best checkpoint is best at")
    mode: str = "max"
    save_last: bool = True
    save_top_k: int = 1
    enable_version_counter: bool = False


@dataclass
class EarlyStoppingConfig:
    _target_: str = "lightning.pytorch.callbacks.EarlyStopping"
    monitor: str = "val/uar"
    mode: str = "max"
    patience: int = setting(5, "validations without a better one, then stop")
    min_delta: float = setting(0.0, "what counts as better")


@dataclass
class LearningRateConfig:
    _target_: str = "lightning.pytorch.callbacks.LearningRateMonitor"
    logging_interval: str = "step"


@dataclass
class ProgressBarConfig:
    _target_: str = "lightning.pytorch.callbacks.RichProgressBar"
    refresh_rate: int = 1
    leave: bool = False


@dataclass
class TensorBoardConfig:
    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    save_dir: str = "${output_dir}"
    name: str = "tensorboard"
    version: str = ""
    default_hp_metric: bool = False


@dataclass
class CsvConfig:
    _target_: str = "lightning.pytorch.loggers.CSVLogger"
    save_dir: str = "${output_dir}"
    name: str = "csv"
    version: str = ""


@dataclass
class TrainConfig:
    seed: int = setting(0, "of weights, order and dropout")
    output_dir: str = setting("???", "folder of this run")
    ckpt: str | None = setting(None, "checkpoint to resume from")
    data: DataConfig = group(DataConfig)
    split: SplitConfig = group(SplitConfig)
    model: ModelConfig = group(ModelConfig)
    trainer: TrainerConfig = group(TrainerConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 2**32 - 1")
        require_file("ckpt", self.ckpt)
        trainer = self.trainer
        endless = trainer.max_epochs == -1 and trainer.max_steps == -1
        require(
            not endless or self.model.schedule == Schedule.constant,
            "trainer.max_epochs",
            -1,
            f"model.schedule={self.model.schedule} needs an end: set trainer.max_epochs or max_steps",
        )


@dataclass
class EvaluateConfig:
    ckpt: str = setting("???", "checkpoint to evaluate, runs/.../checkpoints/best.ckpt")
    part: Part = setting(Part.test, "train, val or test")
    output_dir: str | None = setting(None, "folder of the report; default: beside the checkpoints")
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    batch_size: int | None = setting(None, "default: as in training")
    cache_dir: str | None = setting(None, "default: as in training")
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "where a corpus lies now, if it has moved since training"
    )

    def __post_init__(self) -> None:
        require_file("ckpt", self.ckpt)
        known = ", ".join(ACCELERATORS)
        found = self.accelerator in ACCELERATORS
        require(found, "accelerator", self.accelerator, f"is none of {known}")
        require(self.batch_size is None or self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


def require_file(key: str, path: str | None) -> None:
    require(path is None or Path(path).is_file(), key, path, "no such file")


SCHEMA = {
    "callbacks": {
        "checkpoint": CheckpointConfig,
        "early_stopping": EarlyStoppingConfig,
        "learning_rate": LearningRateConfig,
        "progress_bar": ProgressBarConfig,
    },
    "logger": {"tensorboard": TensorBoardConfig, "csv": CsvConfig},
}


HELP = {
    "train": """Train a speech emotion recogniser.

  python train.py                                              the default: all four corpora
  python train.py data=ravdess backbone=wav2vec2_base          other options of a group
  python train.py trainer.devices=1 model.lr=1e-5              other settings
  python train.py data.paths.tess=FOLDER                       a local copy of a corpus
  python train.py -m model.lr=1e-5,3e-5 seed=1,2               a sweep over all combinations
  python train.py ckpt=runs/.../checkpoints/last.ckpt          resume
  python train.py --cfg job                                    what a command would run with
""",
    "evaluate": """Evaluate a checkpoint on the data it was trained with.

  python evaluate.py ckpt=runs/.../checkpoints/best.ckpt
  python evaluate.py ckpt=runs/.../checkpoints/best.ckpt part=val
""",
}


def describe_settings(kind: type, prefix: str = "") -> list[str]:
    """One line a setting: its full key, its default, and what it is."""
    lines = []
    for entry in fields(kind):
        key = f"{prefix}{entry.name}"
        if is_dataclass(entry.default_factory):
            lines += describe_settings(cast(type, entry.default_factory), f"{key}.")
        elif "doc" in entry.metadata:
            lines.append(f"  {key:36} {show_default(entry):22} {entry.metadata['doc']}")
    return lines


def show_default(entry: Field[Any]) -> str:
    if entry.default_factory is not MISSING:
        made = entry.default_factory()
        return f"[{', '.join(made)}]" if isinstance(made, list) else "{...}" if made else "{}"
    default = str(entry.default)
    if default.startswith("${"):
        return "(computed)"
    return {"None": "null", "True": "true", "False": "false", "???": "(no default)"}.get(default, default)


def register() -> None:
    """Make the dataclasses known to Hydra; call before composing."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, kind in (("train", TrainConfig), ("evaluate", EvaluateConfig)):
        store.store(name=f"{name}_schema", node=kind)
        lines = ["Settings, their defaults and meaning:", *describe_settings(kind)]
        if name == "train":
            for callback, node in SCHEMA["callbacks"].items():
                lines += describe_settings(node, f"callbacks.{callback}.")
        settings = "\n".join(lines)
        groups = "Groups and their options:\n$APP_CONFIG_GROUPS\n" if name == "train" else ""
        template = f"{HELP[name]}\n{groups}{settings}\n"
        store.store(group="hydra/help", name=name, node={"app_name": name, "template": template})
    for family, nodes in SCHEMA.items():
        for name, node in nodes.items():
            store.store(group=f"schema/{family}", name=name, node=node)


def convert(composed: Any, kind: type[Config], **fixed: str) -> Config:
    """The dataclass that a composed Hydra configuration stands for, with its rules checked."""
    from omegaconf import OmegaConf

    merged = OmegaConf.merge(composed, fixed)
    return cast(Config, OmegaConf.to_object(merged))


def to_plain(config: Any) -> dict[str, Any]:
    """Nested dicts, lists, strings and numbers only: what a checkpoint may hold."""
    return json.loads(json.dumps(asdict(config)))


def from_plain(plain: dict[str, Any], changes: dict[str, Any] | None = None) -> TrainConfig:
    """The inverse of `to_plain`, with `changes` (nested in the same way) on top."""
    from omegaconf import OmegaConf

    return convert(OmegaConf.merge(OmegaConf.structured(TrainConfig), plain), TrainConfig, **(changes or {}))
