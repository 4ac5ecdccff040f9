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
from ser.data_config import DataConfig, Part, SplitConfig, is_folder_or_none
from ser.setting import group, require, setting
from ser.trainer_config import ACCELERATORS, TrainerConfig


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
    corpora: list[str] = setting(
        [], "judge these only, corpora new to the model too; []: those of the training"
    )
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "where a corpus lies now; null: as in training"
    )
    table: str | None = setting(None, "where the table lies now; null: as in training")
    synthetic: str | None = setting(None, "where the synthetic corpora lie now; null: likewise")
    cache_dir: str | None = setting(None, "decoded audio; null: as in training")
    batch_size: int | None = setting(None, "utterances a batch; null: as in training")

    def __post_init__(self) -> None:
        for name in self.corpora:
            require(name in CORPORA, "data.corpora", name, f"there is only {', '.join(CORPORA)}")
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
    robustness: bool = setting(False, "also under noise, band limits, reverberation, gain and cuts")
    data: EvaluateDataConfig = group(EvaluateDataConfig)

    def __post_init__(self) -> None:
        require_file("ckpt", self.ckpt)
        rule = f"is none of {', '.join(ACCELERATORS)}"
        require(self.accelerator in ACCELERATORS, "accelerator", self.accelerator, rule)


def require_file(key: str, path: str | None) -> None:
    if path is not None and Path(path).is_dir():
        raise ValueError(f"{key}={path}: a folder; name a file in it (checkpoints/best.ckpt?).")
    require(path is None or Path(path).is_file(), key, path, "no such file")
