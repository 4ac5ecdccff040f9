"""The Hugging Face audio classifier: built from the hub, a folder or random weights, or rebuilt."""

import json
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    PreTrainedConfig,
    Wav2Vec2FeatureExtractor,
)
from transformers.utils import logging as transformers_logging

from ser.audio import MIN_SECONDS, SAMPLE_RATE
from ser.model_config import BackboneConfig, Mode, ModelConfig
from ser.network import FAMILIES, EmotionNetwork, count_frames, network_class
from ser.tuning import HEAD, merge_adapters

# What torch raises for a file that is none of its own, or not what was expected of it.
UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError, IndexError),
    *(AttributeError, ValueError),
)


def build_network(model: ModelConfig, labels: Sequence[str]) -> EmotionNetwork:
    """A classifier with a fresh head over a pretrained backbone, or with random weights.

    Raises OSError where the backbone is neither a local folder nor reachable, and ValueError
    where its weights do not fit the audio classifier of its family.
    """
    config, backbone = describe_network(model, labels), model.backbone
    kind: Any = network_class(type(config))
    if not backbone.pretrained:
        return kind._from_config(config).train()
    # transformers 5 would otherwise start a thread that asks the hub to convert old weights.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    network, loading = kind.from_pretrained(
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
        if not key.startswith(HEAD) and not key.endswith("masked_spec_embed")
    ]
    if missing:
        raise ValueError(
            f"model.backbone.name={backbone.name}: {len(missing)} weights are missing or have"
            f" another shape, {missing[0]} among them; it is no backbone of its stated family"
        )
    renew_head(network)
    return network.train()


def renew_head(network: EmotionNetwork) -> None:
    """Draw the head anew: one that came with the backbone may be for other emotions."""
    for name in ("projector", "classifier", "pooling"):
        for part in network.get_submodule(name).modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()
    if network.weighted:
        nn.init.constant_(network.layer_weights, 1 / len(network.layer_weights))


def describe_network(model: ModelConfig, labels: Sequence[str]) -> PreTrainedConfig:
    """The Hugging Face configuration: architecture, class names, and regularisation of ours.

    Raises ValueError for a model of another family.
    """
    backbone = model.backbone
    if backbone.pretrained or not backbone.architecture:
        config = fetch(AutoConfig, backbone)
    else:
        architecture = dict(backbone.architecture)
        config = AutoConfig.for_model(architecture.pop("model_type", "wav2vec2"), **architecture)
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"model.backbone.name={backbone.name} is a {config.model_type} model, which does not"
            f" take waveforms as wav2vec 2.0 does; choose one of {', '.join(FAMILIES)}"
        )
    frames = count_frames(config, round(MIN_SECONDS * SAMPLE_RATE))  # of the shortest batch
    changes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "layerdrop": backbone.layerdrop,
        "mask_time_prob": backbone.mask_time_prob,
        "mask_feature_prob": backbone.mask_feature_prob,
        # The default of two spans masks a third of a one-second clip, whatever the share asked.
        "mask_time_min_masks": 0,
        # A span longer than the whole batch is an error in transformers 5.
        "mask_time_length": min(config.mask_time_length, frames),
        "pooling": str(model.pooling),
        "use_weighted_layer_sum": model.weighted_layers,
    }
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def quieten_hub() -> None:
    """One sentence says what is missing, so no warnings of each try, nor bars for a local file."""
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def fetch(kind: Any, backbone: BackboneConfig) -> Any:
    """Whatever an Auto class of transformers reads from the hub or from a folder."""
    quieten_hub()
    try:
        return kind.from_pretrained(backbone.name, revision=backbone.revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"model.backbone.name={backbone.name} is neither a local model folder nor to be had"
            f" from the hub ({reason}): connect to the network, name a folder, or train random"
            " weights with model.backbone.pretrained=false"
        ) from error


def rebuild_network(plain_config: dict[str, Any]) -> EmotionNetwork:
    """The network that a plain configuration describes; its weights are still random."""
    settings = dict(plain_config)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    return network_class(type(config))._from_config(config).train()


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
        state = dict(checkpoint["state_dict"])
        if not {"data", "model"} <= set(dict(blueprint.config)):
            raise ValueError("its settings are missing")
    except UNREADABLE as error:
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged") from error
    prefix = "network."
    weights = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    return blueprint, weights


@dataclass(frozen=True)
class Validation:
    """What the validation part told of a checkpoint, each None where it told nothing.

    `temperature` divides the logits, so that a softmax gives calibrated probabilities (fitted by
    `ser.calibration`); `uar` is of these very weights.
    """

    temperature: float | None
    uar: float | None


def read_validation(path: Path) -> Validation:
    """What a checkpoint holds of its validation; ValueError where the file is no checkpoint."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        temperature, uar = checkpoint.get("temperature"), checkpoint.get("val_uar")
        if temperature is not None and not 0 < float(temperature) < math.inf:
            raise ValueError("no temperature divides by that")
        plain = (None if value is None else float(value) for value in (temperature, uar))
        return Validation(*plain)
    except UNREADABLE as error:
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged") from error


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def load_network(path: Path) -> tuple[EmotionNetwork, Blueprint]:
    """The trained network of a checkpoint, in evaluation mode, and its blueprint.

    Low-rank adapters are merged into the weights beside which they were trained.
    """
    blueprint, weights = read_checkpoint(path)
    model = blueprint.config["model"]
    if model.get("mode") == Mode.lora:
        weights = merge_adapters(weights, model["lora"]["alpha"] / model["lora"]["rank"])
    try:
        network = rebuild_network(blueprint.network)
        network.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: its weights are not those it describes") from error
    return network.eval(), blueprint
