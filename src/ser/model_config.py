"""The settings of the network and of how it is trained; see `ser.config` for the rest."""

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ser.setting import group, require, setting


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


class LossKind(StrEnum):
    cross_entropy = "cross_entropy"
    focal = "focal"


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
    loss: LossKind = setting(
        LossKind.cross_entropy, "focal: cross-entropy that counts certain utterances less"
    )
    focal_gamma: float = setting(2.0, "how much less; 0 is the cross-entropy")
    label_smoothing: float = setting(0.0, "of either loss")
    class_weights: Any = setting(
        None, "in the loss; balanced: rare emotions more, or {angry: 2}; null: all alike"
    )
    mixup: float = setting(0.0, "utterances are mixed in pairs by Beta(mixup, mixup); 0: not")
    gradient_checkpointing: bool = setting(False, "half the memory for a third more time")
    compile: bool = setting(False, "torch.compile: minutes at the start, for steps a little faster")
    tf32: bool = setting(True, "let the GPU multiply float32 in TensorFloat-32 where it can")

    def __post_init__(self) -> None:
        for key in ("lr", "classifier_lr"):
            rate = getattr(self, key)
            valid = rate is None or 0 < rate < 1e3
            require(valid, f"model.{key}", rate, "must be above 0, and finite")
        rule = "skips layers at random, which model.compile=true cannot follow; set it to 0"
        skip = self.backbone.layerdrop
        require(not (self.compile and skip > 0), "model.backbone.layerdrop", skip, rule)
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
        for key in ("focal_gamma", "mixup"):
            value = getattr(self, key)
            require(0 <= value < 1e3, f"model.{key}", value, "0 or more, and finite")
        rule = "balanced, or a weight of 0 or more for each of some emotions"
        require(valid_weights(self.class_weights), "model.class_weights", self.class_weights, rule)
        for key in ("warmup_ratio", "label_smoothing"):
            share = getattr(self, key)
            require(0 <= share < 1, f"model.{key}", share, "at least 0 and below 1")

    @property
    def freezes_layers(self) -> bool:
        """Whether the network is the same in every step up to some layer."""
        return self.mode == Mode.head or self.top_layers is not None


def valid_weights(weights: object) -> bool:
    if isinstance(weights, dict):
        numbers = [float(weight) for weight in weights.values() if isinstance(weight, int | float)]
        finite = all(math.isfinite(number) and number >= 0 for number in numbers)
        return len(numbers) == len(weights) and finite and sum(numbers) > 0
    return weights in (None, "balanced")
