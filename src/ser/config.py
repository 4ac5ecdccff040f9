"""Every setting of ours once: its type, default, unit and rule.

The dataclasses are Hydra's schema, so a typo or a wrong type stops at compose with its full key;
rules between values live in `__post_init__` and quote the key as the user types it. Neither Hydra
nor anything heavy is imported here.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ser.corpora import CORPORA
from ser.labels import LABELS
from ser.setting import group, require, setting, suggest
from ser.trainer_config import ACCELERATORS, TrainerConfig


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


class Mode(StrEnum):
    full = "full"
    lora = "lora"
    head = "head"


class Pooling(StrEnum):
    mean = "mean"
    attention = "attention"
    statistics = "statistics"


class Part(StrEnum):
    train = "train"
    val = "val"
    test = "test"


@dataclass
class DataConfig:
    corpora: list[str] = setting(list(CORPORA), "which corpora are merged")
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "a local copy, read in place of a download"
    )
    synthetic: str | None = setting(
        None, "folder of synthetic stand-ins (written when missing) read in place of the corpora"
    )
    labels: list[str] = setting([], "the classes, in this order; []: all eight, after data.merge")
    merge: dict[str, str] = setting({}, "emotions that count as another: {calm: neutral}")
    cache_dir: str = setting(
        "~/.cache/ser",
        "decoded audio, shared by runs; SER_CACHE in the environment moves it",
    )
    max_seconds: float = setting(8.0, "longer utterances are trimmed to this")
    padding: Padding = setting(Padding.dynamic, "dynamic: to the batch; uniform: to max_seconds")
    batch_size: int = setting(16, "utterances a batch, per device")
    num_workers: int = setting(
        0, "loader processes; reading the cache costs well under 1 ms a clip"
    )

    def __post_init__(self) -> None:
        known = list(CORPORA)
        require(bool(self.corpora), "data.corpora", "[]", f"name some of {', '.join(known)}")
        for key, names in (("data.corpora", self.corpora), ("data.paths", list(self.paths))):
            for name in names:
                rule = f"there is only {', '.join(known)}{suggest(str(name), known).rstrip('?')}"
                require(isinstance(name, str) and name in CORPORA, key, name, rule)
        repeated = len(set(self.corpora)) < len(self.corpora)
        require(not repeated, "data.corpora", self.corpora, "names a corpus twice")
        for name in self.corpora:
            folder = self.paths.get(name)
            require(is_folder_or_none(folder), f"data.paths.{name}", folder, "no such folder")
        for name in self.merge:
            require(name in LABELS, "data.merge", name, f"there is only {', '.join(LABELS)}")
        for name in self.merge.values():
            require(name not in self.merge, "data.merge", name, "is merged into another itself")
        repeated = len(set(self.labels)) < len(self.labels)
        require(not repeated, "data.labels", self.labels, "names a class twice")
        require(len(self.label_space) > 1, "data.labels", self.label_space, "name at least two")
        within = 0.25 <= self.max_seconds <= 3600
        require(within, "data.max_seconds", self.max_seconds, "from 0.25 s to an hour")
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        require(self.num_workers >= 0, "data.num_workers", self.num_workers, "0 or more")

    @property
    def label_space(self) -> list[str]:
        """The classes in the order of their labels."""
        return self.labels or list(dict.fromkeys(self.merge.get(name, name) for name in LABELS))


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
        require(0 <= self.seed < 2**32, "split.seed", self.seed, "from 0 to 2**32 - 1")


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
        on_the_hub = self.name.count("/") == 1 and not self.name.startswith((".", "/", "~"))
        found = on_the_hub or Path(self.name).expanduser().is_dir()
        rule = "neither a folder that exists nor OWNER/NAME on the hub"
        require(found or not self.pretrained, "model.backbone.name", self.name, rule)
        for key in ("layerdrop", "mask_time_prob", "mask_feature_prob"):
            share = getattr(self, key)
            require(0 <= share < 1, f"model.backbone.{key}", share, "at least 0 and below 1")


@dataclass
class AdapterConfig:
    rank: int = setting(8, "of the two small matrices beside each adapted one")
    alpha: float = setting(16.0, "their product counts alpha / rank times")
    dropout: float = setting(0.0, "of what goes into them")

    def __post_init__(self) -> None:
        require(self.rank >= 1, "model.lora.rank", self.rank, "at least 1")
        require(0 < self.alpha < 1e3, "model.lora.alpha", self.alpha, "must be above 0, and finite")
        dropout = self.dropout
        require(0 <= dropout < 1, "model.lora.dropout", dropout, "at least 0 and below 1")


@dataclass
class ModelConfig:
    mode: Mode = setting(
        Mode.full, "full: all weights; lora: low-rank adapters and head; head: classifier alone"
    )
    top_layers: int | None = setting(
        None, "train only so many of the last transformer layers; null: all"
    )
    weighted_layers: bool = setting(False, "classify a learned weighted sum of all layers (SUPERB)")
    pooling: Pooling = setting(
        Pooling.mean, "of the frames; statistics: mean and standard deviation"
    )
    cache_hidden_states: bool = setting(
        True, "compute what lies below the first trained layer once, and keep it in data.cache_dir"
    )
    backbone: BackboneConfig = group(BackboneConfig)
    lora: AdapterConfig = group(AdapterConfig)
    freeze_feature_encoder: bool = setting(True, "keep the convolutional front end as it is")
    lr: float = setting(3e-5, "peak learning rate of AdamW")
    classifier_lr: float | None = setting(None, "of all above the backbone; null: as model.lr")
    layer_decay: float = setting(1.0, "learning rate of a layer as a share of that of the next")
    weight_decay: float = setting(0.01, "of AdamW; not on norms and biases")
    schedule: Schedule = setting(Schedule.linear, "learning rate after the warm-up")
    warmup_ratio: float = setting(0.1, "share of all steps in which the learning rate rises")
    label_smoothing: float = setting(0.0, "of the cross-entropy")

    def __post_init__(self) -> None:
        for key in ("lr", "classifier_lr"):
            rate = getattr(self, key)
            valid = rate is None or 0 < rate < 1e3
            require(valid, f"model.{key}", rate, "must be above 0, and finite")
        share = self.layer_decay
        require(0 < share <= 1, "model.layer_decay", share, "above 0, and at most 1")
        top = self.top_layers
        require(top is None or top >= 1, "model.top_layers", top, "at least 1, or null for all")
        require(
            top is None or self.mode != Mode.head,
            "model.top_layers",
            top,
            "model=head trains no layer; choose model=full or model=lora",
        )
        partly = self.mode != Mode.full or top is not None or self.weighted_layers
        require(
            self.backbone.layerdrop == 0 or not partly,
            "model.backbone.layerdrop",
            self.backbone.layerdrop,
            "skipping layers goes with model=full alone, without top_layers and weighted_layers",
        )
        decay = self.weight_decay
        require(0 <= decay < 1e3, "model.weight_decay", decay, "0 or more, and finite")
        for key in ("warmup_ratio", "label_smoothing"):
            share = getattr(self, key)
            require(0 <= share < 1, f"model.{key}", share, "at least 0 and below 1")

    @property
    def freezes_layers(self) -> bool:
        """Whether the network is the same in every step up to some layer."""
        return self.mode == Mode.head or self.top_layers is not None


@dataclass
class TrainConfig:
    seed: int = setting(0, "of weights, order and dropout")
    output_dir: str = setting("???", "folder of this run; runs/DATE_TIME, or where ckpt lies")
    ckpt: str | None = setting(None, "checkpoint to resume from")
    command: list[str] = setting([], "the options as typed; filled in by itself")
    data: DataConfig = group(DataConfig)
    split: SplitConfig = group(SplitConfig)
    model: ModelConfig = group(ModelConfig)
    trainer: TrainerConfig = group(TrainerConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 2**32 - 1")
        require_file("ckpt", self.ckpt)
        if not self.logger and "learning_rate" in self.callbacks:
            raise ValueError("callbacks.learning_rate needs a logger: ~callbacks.learning_rate")
        trainer = self.trainer
        endless = trainer.max_epochs == -1 and trainer.max_steps == -1
        require(
            not endless or self.model.schedule == Schedule.constant,
            "trainer.max_epochs",
            -1,
            f"model.schedule={self.model.schedule} needs an end; set this or trainer.max_steps",
        )


@dataclass
class EvaluateDataConfig:
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "where a corpus lies now; null: as in training"
    )
    synthetic: str | None = setting(None, "where the synthetic corpora lie now; null: likewise")
    cache_dir: str | None = setting(None, "decoded audio; null: as in training")
    batch_size: int | None = setting(None, "utterances a batch; null: as in training")

    def __post_init__(self) -> None:
        for name, folder in self.paths.items():
            require(is_folder_or_none(folder), f"data.paths.{name}", folder, "no such folder")
        size = self.batch_size
        require(size is None or size >= 1, "data.batch_size", size, "at least 1")


@dataclass
class EvaluateConfig:
    ckpt: str = setting("???", "checkpoint to evaluate, runs/.../checkpoints/best.ckpt")
    part: Part = setting(Part.test, "train, val or test")
    output_dir: str | None = setting(
        None, "folder of the report; null: report/ in the run, report-CKPT-PART/ for others"
    )
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    data: EvaluateDataConfig = group(EvaluateDataConfig)

    def __post_init__(self) -> None:
        require_file("ckpt", self.ckpt)
        rule = f"is none of {', '.join(ACCELERATORS)}"
        require(self.accelerator in ACCELERATORS, "accelerator", self.accelerator, rule)


def is_folder_or_none(path: str | None) -> bool:
    return path is None or (bool(path.strip()) and Path(path).expanduser().is_dir())


def require_file(key: str, path: str | None) -> None:
    if path is not None and Path(path).is_dir():
        raise ValueError(f"{key}={path}: a folder; name a file in it (checkpoints/best.ckpt?).")
    require(path is None or Path(path).is_file(), key, path, "no such file")
