"""Settings of the network: what is trained, pooling, loss and optimiser."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ser.config.backbone import AdapterConfig, BackboneConfig
from ser.config.fields import group, require_shares, setting
from ser.errors import require

# Settings that `ser probe` refuses, because it sets them itself.
PROBED = (
    "model",
    *("model.mode", "model.layer", "model.join_layers", "model.top_layers"),
    *("model.weighted_layers", "model.projector"),
)
# Settings of its search; the command that it prints has the winner instead.
SEARCHED = ("model.fit", "model.fit_strengths", "model.fit_folds")


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
    attentive_statistics = "attentive_statistics"


POOLINGS: set[str] = {*Pooling}  # `ser.models.pooling.register` adds to them


class Standardize(StrEnum):
    none = "none"
    train = "train"
    corpus = "corpus"
    speaker = "speaker"


class HeadFit(StrEnum):
    none = "none"
    logistic = "logistic"
    lda = "lda"
    auto = "auto"


class FitFolds(StrEnum):
    """What cross-validation in the training part leaves out."""

    auto = "auto"
    speaker = "speaker"
    corpus = "corpus"


class LossKind(StrEnum):
    cross_entropy = "cross_entropy"
    focal = "focal"


LEARNED_POOLINGS = (Pooling.attention, Pooling.attentive_statistics)
AUXILIARY = ("gender", "corpus", "speaker")  # columns of the manifest


@dataclass
class ModelConfig:
    mode: Mode = setting(
        Mode.full, "full: all weights; lora: low-rank adapters and head; head: classifier only"
    )
    top_layers: int | None = setting(
        None, "train only the last N transformer layers; null: all of them"
    )
    layer: int | None = setting(
        None, "end the network after transformer layer N (0: before the first); null: the last"
    )
    join_layers: list[int] = setting(
        [], "pool several layers and concatenate their features: [1,2,3]; []: one layer"
    )
    projector: bool = setting(True, "linear projection of the frames before pooling")
    standardize: Standardize = setting(
        Standardize.none,
        "standardise pooled features: train (by the training part), or within each corpus or"
        " speaker",
    )
    weighted_layers: bool = setting(False, "classify a learned weighted sum of all layers (SUPERB)")
    pooling: str = setting(
        "mean",
        "pooling over time: mean, attention, statistics (mean and deviation),"
        " attentive_statistics, or your own",
    )
    pooling_floor_db: float | None = setting(
        None, "pool only frames above this level, in dB relative to the loudest: -30; null: all"
    )
    fit: HeadFit = setting(
        HeadFit.none,
        "fit the head with scikit-learn: logistic, lda, auto (the better); with model.mode=full or"
        " lora, training starts from it (LP-FT)",
    )
    fit_strengths: list[float] = setting(
        [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1],
        "inverse regularisation strengths C to try, by cross-validation in the training part",
    )
    fit_folds: FitFolds = setting(
        FitFolds.auto,
        "what that cross-validation leaves out: speaker, corpus, auto (corpus with split=corpus)",
    )
    cache_hidden_states: bool = setting(
        True, "compute the frozen lower layers once and keep their output in data.cache_dir"
    )
    backbone: BackboneConfig = group(BackboneConfig)
    lora: AdapterConfig = group(AdapterConfig)
    freeze_feature_encoder: bool = setting(True, "do not train the convolutional feature encoder")
    lr: float = setting(3e-5, "peak learning rate of AdamW")
    classifier_lr: float | None = setting(None, "learning rate of the head; null: model.lr")
    layer_decay: float = setting(1.0, "learning rate of a layer relative to the layer above it")
    weight_decay: float = setting(0.01, "weight decay of AdamW; norms and biases have none")
    schedule: Schedule = setting(Schedule.linear, "learning rate schedule after the warm-up")
    warmup_ratio: float = setting(0.1, "share of all steps used for the warm-up")
    loss: LossKind = setting(
        LossKind.cross_entropy, "focal: lower the weight of utterances that are already right"
    )
    focal_gamma: float = setting(2.0, "exponent of the focal loss; 0 is the cross-entropy")
    label_smoothing: float = setting(0.0, "label smoothing of either loss")
    class_weights: Any = setting(
        None, "balanced, weights such as {angry: 2}, or null for equal weights"
    )
    soft_labels: bool = setting(
        False, "train on the distribution of listeners' votes, if known, instead of the label"
    )
    logit_adjustment: float = setting(
        0.0, "add this times the log class frequency to the logits in the training loss; 0: off"
    )
    auxiliary: dict[str, float] = setting(
        {}, "auxiliary tasks and the weights of their losses: {gender: 0.1}; or corpus, speaker"
    )
    adversarial: list[str] = setting(
        [], "auxiliary tasks whose gradient is reversed before it reaches the network"
    )
    abstain_error: float | None = setting(
        None,
        "maximum validation error rate of accepted predictions; abstain from less confident ones",
    )
    mixup: float = setting(0.0, "alpha of mixup, Beta(alpha, alpha); 0: no mixup")
    gradient_checkpointing: bool = setting(False, "halve the memory for a third more time")
    compile: bool = setting(False, "use torch.compile, which takes minutes at the start")
    tf32: bool = setting(True, "allow TensorFloat-32 matrix products on the GPU")

    def __post_init__(self) -> None:
        self.check_layers()
        rule = f"choose one of {', '.join(sorted(POOLINGS))}; import the module of your own first"
        require(self.pooling in POOLINGS, "model.pooling", self.pooling, rule)
        for key in ("lr", "classifier_lr"):
            rate = getattr(self, key)
            require(rate is None or 0 < rate < 1e3, f"model.{key}", rate, "above 0 and below 1000")
        decay = self.layer_decay
        require(0 < decay <= 1, "model.layer_decay", decay, "above 0 and at most 1")
        for key in ("weight_decay", "focal_gamma", "mixup", "logit_adjustment"):
            value = getattr(self, key)
            require(0 <= value < 1e3, f"model.{key}", value, "0 or more and below 1000")
        rule = "balanced, or a weight from 0 to 1000 for each of some classes"
        require(valid_weights(self.class_weights), "model.class_weights", self.class_weights, rule)
        floor = self.pooling_floor_db
        rule = "below 0 and above -120 dB, or null"
        require(floor is None or -120 < floor < 0, "model.pooling_floor_db", floor, rule)
        require_shares("model", self, "warmup_ratio", "label_smoothing")
        self.check_targets()

    def check_targets(self) -> None:
        """Raise UserError for targets of the loss that do not go together."""
        rule = "adjusts for class frequencies already; leave out model.class_weights"
        alone = self.class_weights is None or self.logit_adjustment == 0
        require(alone, "model.logit_adjustment", self.logit_adjustment, rule)
        for task, weight in self.auxiliary.items():
            require(task in AUXILIARY, "model.auxiliary", task, f"choose from {AUXILIARY}")
            require(0 < weight < 1e3, f"model.auxiliary.{task}", weight, "above 0 and below 1000")
        unknown = [task for task in self.adversarial if task not in self.auxiliary]
        require(not unknown, "model.adversarial", unknown, "give each a weight in model.auxiliary")
        rule = "mixes recordings, which auxiliary tasks do not support; set model.mixup=0"
        require(not (self.auxiliary and self.mixup), "model.mixup", self.mixup, rule)
        rule = "the head is fitted by scikit-learn; leave out model.auxiliary"
        require(not (self.auxiliary and self.only_fits), "model.fit", self.fit, rule)
        error = self.abstain_error
        rule = "above 0 and below 1, or null"
        require(error is None or 0 < error < 1, "model.abstain_error", error, rule)

    def check_layers(self) -> None:
        """Raise UserError for settings of layers that exclude each other."""
        top, skip, last = self.top_layers, self.backbone.layerdrop, self.layer
        require(last is None or last >= 0, "model.layer", last, "0 or more, or null for the last")
        require(top is None or top >= 1, "model.top_layers", top, "at least 1, or null for all")
        rule = "model=head trains no layer; choose model=full or model=lora"
        require(top is None or self.mode != Mode.head, "model.top_layers", top, rule)
        rule = "model.compile=true needs layerdrop 0, because skipped layers change the graph"
        require(not (self.compile and skip > 0), "model.backbone.layerdrop", skip, rule)
        rule = "has weights of its own, which model.fit cannot fit; model=linear leaves it out"
        for key in self.learned_parts:
            require(not self.fits, f"model.{key}", getattr(self, key), rule)
        rule = f"model.fit={self.fit} needs standardised features, as in model=linear"
        scaled = self.standardize != Standardize.none
        require(scaled or not self.fits, "model.standardize", self.standardize, rule)
        rule = "needs a linear head on features that do not change in training, as in model=linear"
        if self.mode != Mode.head:
            rule = f"model.mode={self.mode} changes the features; choose model.mode=head"
        grouped = self.standardizes_by_group
        require(self.fixed_features or not grouped, "model.standardize", self.standardize, rule)
        positive = bool(self.fit_strengths) and min(self.fit_strengths) > 0
        rule = "at least one strength above 0"
        require(positive, "model.fit_strengths", self.fit_strengths, rule)
        joined = self.join_layers
        distinct = len(set(joined)) == len(joined) and min(joined, default=0) >= 0
        require(distinct, "model.join_layers", joined, "different numbers, 0 or more")
        rule = "needs model.projector=false, and neither model.layer nor model.weighted_layers"
        alone = not self.projector and last is None and not self.weighted_layers
        require(alone or not joined, "model.join_layers", joined, rule)
        partial = self.mode != Mode.full or top is not None or self.weighted_layers
        rule = "works with model=full only, without top_layers and weighted_layers"
        require(skip == 0 or not partial, "model.backbone.layerdrop", skip, rule)

    @property
    def head_lr(self) -> float:
        """The peak learning rate of the head."""
        return self.lr if self.classifier_lr is None else self.classifier_lr

    @property
    def last_layer(self) -> int | None:
        """The layer that the network ends after; None for the last one of the backbone."""
        return max(self.join_layers) if self.join_layers else self.layer

    @property
    def learned_parts(self) -> list[str]:
        """The settings that train something between the backbone and the classifier."""
        parts = {
            "projector": self.projector,
            "weighted_layers": self.weighted_layers,
            "pooling": self.pooling in LEARNED_POOLINGS,
        }
        return [name for name, learned in parts.items() if learned]

    @property
    def fixed_features(self) -> bool:
        """Whether the pooled features are the same in every step, so only the head is trained."""
        return self.mode == Mode.head and not self.learned_parts

    @property
    def fits(self) -> bool:
        """Whether scikit-learn fits the head."""
        return self.fit != HeadFit.none

    @property
    def only_fits(self) -> bool:
        """Whether scikit-learn fits the head and nothing is trained."""
        return self.fits and self.mode == Mode.head

    @property
    def loss_changes(self) -> list[str]:
        """The settings in use that act on training by gradients only, besides rates and steps."""
        focal = ["model.loss=focal"] if self.loss == LossKind.focal else []
        names = ("label_smoothing", "soft_labels", "logit_adjustment", "mixup")
        return focal + [f"model.{name}" for name in names if getattr(self, name)]

    @property
    def standardizes_by_group(self) -> bool:
        """Whether features are standardised within each speaker or corpus."""
        return self.standardize in (Standardize.speaker, Standardize.corpus)

    @property
    def freezes_layers(self) -> bool:
        """Whether the network up to some layer is the same in every step."""
        return self.mode == Mode.head or self.top_layers is not None


def valid_weights(weights: object) -> bool:
    if isinstance(weights, dict):
        numbers = [weight for weight in weights.values() if isinstance(weight, int | float)]
        possible = all(0 <= number < 1e3 for number in numbers)
        return len(numbers) == len(weights) > 0 and possible
    return weights in (None, "balanced")
