"""The Hugging Face audio classifier: built from the hub, a folder or random weights, or rebuilt."""

import json
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)

from ser.audio import SAMPLE_RATE
from ser.config import BackboneConfig

# What torch raises for a file that is none of its own, or not what was expected of it.
UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError, IndexError),
    *(AttributeError, ValueError),
)
FRESH = ("projector.", "classifier.", "layer_weights")  # what a pretrained backbone has not


class MaskedGroupNorm(nn.GroupNorm):
    """Group normalisation over the valid frames only, so padding does not change the result.

    The first convolution of wav2vec2-base and its kin normalises over time, padding included,
    which makes a prediction depend on the longest neighbour in its batch. `lengths` (batch,)
    counts the valid frames; where it is None this is the plain layer.
    """

    lengths: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in torch)
        if self.lengths is None:
            return super().forward(input)
        frames = input.float()  # (batch, channels, time); one group a channel
        valid = torch.arange(frames.shape[-1], device=frames.device) < self.lengths[:, None]
        valid = valid[:, None].to(frames.dtype)
        count = valid.sum(-1, keepdim=True)
        mean = (frames * valid).sum(-1, keepdim=True) / count
        centred = frames - mean
        variance = (centred.square() * valid).sum(-1, keepdim=True) / count
        scaled = centred * torch.rsqrt(variance + self.eps)
        return (scaled * self.weight[:, None] + self.bias[:, None]).to(input.dtype)


def build_network(backbone: BackboneConfig, labels: Sequence[str]) -> PreTrainedModel:
    """A classifier with a fresh head over a pretrained backbone, or with random weights.

    Raises OSError where the backbone is neither a local folder nor reachable, and ValueError
    where its weights do not fit the audio classifier of its family.
    """
    config = describe_network(backbone, labels)
    if not backbone.pretrained:
        return prepare_network(AutoModelForAudioClassification.from_config(config))
    # transformers 5 would otherwise start a thread that asks the hub to convert old weights.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    network, loading = AutoModelForAudioClassification.from_pretrained(
        backbone.name,
        revision=backbone.revision,
        config=config,
        dtype=torch.float32,  # the default takes the dtype of the file, half precision included
        ignore_mismatched_sizes=True,  # a head for other classes is replaced
        output_loading_info=True,
    )
    replaced = [key for key, *_ in loading["mismatched_keys"]]
    missing = [
        key
        for key in [*loading["missing_keys"], *replaced]
        if not key.startswith(FRESH) and not key.endswith("masked_spec_embed")
    ]
    if missing:
        raise ValueError(
            f"model.backbone.name={backbone.name}: {len(missing)} weights are missing or have"
            f" another shape, {missing[0]} among them; it is no backbone of its stated family"
        )
    for name in ("projector", "classifier"):
        getattr(network, name).reset_parameters()  # a head found there may be for other emotions
    return prepare_network(network)


def describe_network(backbone: BackboneConfig, labels: Sequence[str]) -> PreTrainedConfig:
    """The Hugging Face configuration: architecture, class names, and regularisation of ours."""
    if backbone.pretrained or not backbone.architecture:
        config = fetch(AutoConfig, backbone)
    else:
        architecture = dict(backbone.architecture)
        config = AutoConfig.for_model(architecture.pop("model_type", "wav2vec2"), **architecture)
    changes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "layerdrop": backbone.layerdrop,
        "mask_time_prob": backbone.mask_time_prob,
        "mask_feature_prob": backbone.mask_feature_prob,
        # The default of two spans masks a third of a one-second clip, whatever the share asked.
        "mask_time_min_masks": 0,
    }
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def fetch(kind: Any, backbone: BackboneConfig) -> Any:
    """Whatever an Auto class of transformers reads from the hub or from a folder."""
    try:
        return kind.from_pretrained(backbone.name, revision=backbone.revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"model.backbone.name={backbone.name} is neither a local model folder nor to be had"
            f" from the hub ({reason}): connect to the network, name a folder, or train random"
            " weights with model.backbone.pretrained=false"
        ) from error


def rebuild_network(plain_config: dict[str, Any]) -> PreTrainedModel:
    """The network that a plain configuration describes; its weights are still random."""
    config = dict(plain_config)
    return prepare_network(
        AutoModelForAudioClassification.from_config(
            AutoConfig.for_model(config.pop("model_type"), **config)
        )
    )


def prepare_network(network: PreTrainedModel) -> PreTrainedModel:
    """Make padding harmless, and set training mode, which `from_pretrained` leaves off."""
    norms = []
    base: Any = network.base_model
    for parent in list(base.feature_extractor.modules()):
        norm = getattr(parent, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            masked = MaskedGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
            masked.weight, masked.bias = norm.weight, norm.bias
            parent.layer_norm = masked
            norms.append((parent, masked))

    def set_lengths(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        for layer, norm in norms:
            samples = None if mask is None else mask.sum(-1)
            kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
            norm.lengths = None if samples is None else (samples - kernel) // stride + 1

    if norms:
        network.register_forward_pre_hook(set_lengths, with_kwargs=True)
    return network.train()


def build_feature_extractor(backbone: BackboneConfig) -> Wav2Vec2FeatureExtractor:
    """How this backbone wants its waveforms: normalised one by one, or as they are.

    Raises ValueError for a backbone trained at another sample rate than 16 kHz.
    """
    if not backbone.pretrained:
        return Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE, return_attention_mask=True)
    extractor = fetch(AutoFeatureExtractor, backbone)
    if extractor.sampling_rate != SAMPLE_RATE:
        raise ValueError(
            f"model.backbone.name={backbone.name} wants {extractor.sampling_rate} Hz audio;"
            f" this project works at {SAMPLE_RATE} Hz"
        )
    return extractor


def plain(described: Any) -> dict[str, Any]:
    """A Hugging Face configuration or feature extractor as plain values, for a checkpoint."""
    return json.loads(described.to_json_string())


def parameter_groups(network: nn.Module, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Trainable parameters in two groups: no weight decay on norms and biases."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    yield {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0}


@dataclass(frozen=True)
class Blueprint:
    """All of a trained model but its weights, in plain values that any checkpoint may hold.

    `config` is the whole configuration of the run, `network` and `feature_extractor` are the
    Hugging Face configurations, `manifest` is the fingerprint of the split manifest.
    """

    config: dict[str, Any]
    labels: list[str]
    sample_rate: int
    network: dict[str, Any]
    feature_extractor: dict[str, Any]
    manifest: str


def read_checkpoint(path: Path) -> tuple[Blueprint, dict[str, torch.Tensor]]:
    """The blueprint and the network's weights of a checkpoint of this project.

    Only tensors and plain values are unpickled. Raises ValueError where the file is anything else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        blueprint = Blueprint(**checkpoint["hyper_parameters"])
        state = checkpoint["state_dict"]
    except UNREADABLE as error:
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged") from error
    prefix = "network."
    weights = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    return blueprint, weights


def read_temperature(path: Path) -> float | None:
    """What a checkpoint divides its logits by, so that a softmax gives calibrated probabilities.

    It was fitted on the validation part (`ser.calibration`); None where none was. Raises
    ValueError where the file is no checkpoint.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        temperature = checkpoint.get("temperature")
        return None if temperature is None else float(temperature)
    except UNREADABLE as error:
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged") from error


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def load_network(path: Path) -> tuple[PreTrainedModel, Blueprint]:
    """The trained network of a checkpoint, in evaluation mode, and its blueprint."""
    blueprint, weights = read_checkpoint(path)
    try:
        network = rebuild_network(blueprint.network)
        network.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: its weights are not those it describes") from error
    return network.eval(), blueprint
