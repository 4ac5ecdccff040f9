"""Build a network from the hub, a local folder or random weights."""

import json
import logging
import math
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor, PreTrainedConfig, PreTrainedModel

from ser.audio.recording import MIN_SECONDS, SAMPLE_RATE
from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig, Standardize
from ser.errors import HUB_HELP, UserError, first_line, require
from ser.models.families.base import Family
from ser.models.families.registry import FAMILIES
from ser.models.network import EmotionNetwork, describe_class, network_class
from ser.models.pooling import FeatureScaler
from ser.system.files import is_folder
from ser.system.libraries import silence_hub

log = logging.getLogger(__name__)
MOST_PARTS = 1000  # layers, heads, strides; to build more would take for ever
MOST_LABELS = 10_000
# Files that describe the input of a model; the second one also holds a tokenizer.
EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
# Weights that are missing, a Git LFS pointer, or cut off.
UNREADABLE_WEIGHTS = (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError)

# transformers 5 would otherwise start a thread that asks the hub to convert old weight files.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")


def build_network(model: ModelConfig, labels: Sequence[str]) -> EmotionNetwork:
    """A classifier with a new head over a pretrained backbone, or with random weights.

    Raises UserError if the backbone is neither a local folder nor available from the hub, if its
    weights are missing or damaged, or if they do not fit the audio classifier of its family.
    """
    config, backbone = describe_network(model, labels), model.backbone
    kind: Any = network_class(type(config))
    if not backbone.pretrained:
        with valid_architecture():
            return kind._from_config(config).train()
    silence_hub()
    try:
        network, loading = kind.from_pretrained(
            backbone.name,
            revision=backbone.revision,
            config=config,
            dtype=torch.float32,  # the default is the dtype of the file, also half precision
            ignore_mismatched_sizes=True,  # a head for other classes is replaced
            output_loading_info=True,
        )
    except UNREADABLE_WEIGHTS as error:
        raise UserError(
            f"model.backbone.name={backbone.name}: its weights cannot be read"
            f" ({first_line(error)}); download the model again, or name another one"
        ) from error
    replaced = [key for key, *_ in loading["mismatched_keys"]]
    missing = [key for key in [*loading["missing_keys"], *replaced] if not network.is_optional(key)]
    if missing:
        raise UserError(
            f"model.backbone.name={backbone.name}: {len(missing)} weights are missing or have"
            f" another shape, for example {missing[0]}; the folder does not hold the backbone that"
            " its config.json describes"
        )
    reset_head(network)
    return network.train()


def reset_head(network: EmotionNetwork) -> None:
    """Initialise the head; the one that came with the backbone may be for other classes."""
    for name in ("projector", "classifier", "pooling"):
        for part in network.get_submodule(name).modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()
    if isinstance(network.scaler, FeatureScaler):
        network.scaler.reset()
    if network.weighted:
        nn.init.constant_(network.layer_weights, 1 / len(network.layer_weights))


def describe_network(model: ModelConfig, labels: Sequence[str]) -> PreTrainedConfig:
    """The Hugging Face configuration: architecture, class names and our settings.

    Raises UserError for a model of an unknown family.
    """
    backbone = model.backbone
    if backbone.pretrained or not backbone.architecture:
        config = fetch(AutoConfig, backbone)
    else:
        architecture = dict(backbone.architecture)
        with valid_architecture():
            model_type = architecture.pop("model_type", "wav2vec2")
            config = AutoConfig.for_model(model_type, **architecture)
    family = find_family(config, f"model.backbone.name={backbone.name}")
    check_silence(backbone, family, config)
    depth = family.depth(config)
    last = depth if model.last_layer is None else model.last_layer
    if last > depth:
        raise UserError(f"model.layer={last}: {backbone.name} has {depth} transformer layers")
    if last < depth:
        family.truncate(config, last)
    frames = family.count_frames(config, round(MIN_SECONDS * SAMPLE_RATE))  # shortest batch
    changes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "layerdrop": backbone.layerdrop,
        "mask_time_prob": backbone.mask_time_prob,
        "mask_feature_prob": backbone.mask_feature_prob,
        # A span may not be longer than the shortest batch.
        "mask_time_length": min(config.mask_time_length, frames),
        "mask_time_min_masks": 0,  # for others who load an exported folder
        "pooling": str(model.pooling),
        "use_projector": model.projector,
        "standardize": model.standardize != Standardize.none,
        "adaptable": model.standardize != Standardize.none and model.fixed_features,
        "min_seconds": backbone.min_seconds,
        "ends_early": last < depth,
        "join_layers": list(model.join_layers),
        "use_weighted_layer_sum": model.weighted_layers,
    }
    if model.pooling_floor_db is not None:
        changes["floor_db"] = model.pooling_floor_db
    for key, value in changes.items():
        setattr(config, key, value)
    return config


@contextmanager
def valid_architecture() -> Iterator[None]:
    """Turn errors of Hugging Face about a configuration into UserErrors that name our key."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, ArithmeticError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"model.backbone.architecture is not valid: {reason}") from error


def find_family(config: PreTrainedConfig, source: str) -> Family:
    """The adapter for a configuration; raises UserError, which names the source, if none fits."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise UserError(
            f"{source} is a {config.model_type} model, which is not supported; choose one of"
            f" {', '.join(FAMILIES)}"
        )
    return family


def check_silence(backbone: BackboneConfig, family: Family, config: PreTrainedConfig) -> None:
    """Raise UserError for `model.backbone.min_seconds` that the family cannot follow."""
    least, limit = backbone.min_seconds, family.max_seconds(config) or math.inf
    rule = f"works with Whisper only, up to the {limit:g} s that the model takes"
    possible = least == 0 or (family.adds_silence and least <= limit)
    require(possible, "model.backbone.min_seconds", least, rule)


def check_duration(
    family: Family, config: PreTrainedConfig, seconds: float, key: str = "data.max_seconds"
) -> None:
    """Raise UserError, which names the key, for clips longer than the longest input."""
    limit = family.max_seconds(config) or math.inf
    rule = f"at most {limit:g} s, because {config.model_type} has no more positions"
    require(seconds <= limit, key, seconds, rule)


def fetch(kind: Any, backbone: BackboneConfig) -> Any:
    """Read something with an Auto class of transformers, from the hub or from a folder."""
    silence_hub()
    try:
        return kind.from_pretrained(backbone.name, revision=backbone.revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.backbone.name={backbone.name} is neither a local model folder nor available"
            f" from the hub ({first_line(error)}): {HUB_HELP}; or name a local folder"
        ) from error


def check_numbers(plain_config: dict[str, Any]) -> None:
    """Raise UserError for numbers that no network has, which would hang or fail later."""
    for key, value in plain_config.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            possible = math.isfinite(number)
            if key.endswith(("dropout", "layerdrop", "_prob")):
                possible = possible and 0 <= number <= 1
            elif any(word in key for word in ("heads", "stride", "kernel")):
                possible = 1 <= number <= MOST_PARTS
            elif key.endswith("layers"):
                possible = 0 <= number <= MOST_PARTS
            elif key == "num_labels":
                possible = 1 <= number <= MOST_LABELS
            if not possible:
                raise UserError(f"the configuration of the network has {key}={number}")


def restore_network(
    plain_config: dict[str, Any], weights: dict[str, torch.Tensor]
) -> EmotionNetwork:
    """The network of a plain configuration with these weights, in evaluation mode.

    Raises ValueError if a weight is missing, unknown or of another shape or kind, and UserError for
    a configuration that no network has.
    """
    silence_hub()
    check_numbers(plain_config)
    kind, config = describe_class(plain_config)
    # Without a name nothing is looked up. Random initialisation is skipped, which would take most
    # of the time.
    network, loading = kind.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[problem]:
            raise ValueError(f"{problem}: {sorted(map(str, loading[problem]))[0]}")
    for name, value in network.state_dict().items():
        given = weights.get(name)
        if given is not None and value.is_floating_point() and not given.is_floating_point():
            raise ValueError(f"{name} holds {given.dtype}")
    return network.eval()


def build_feature_extractor(backbone: BackboneConfig, family: Family) -> Any:
    """The Hugging Face feature extractor of a backbone.

    Raises UserError for a backbone whose sample rate is not 16 kHz.
    """
    if not backbone.pretrained or lacks_extractor(backbone.name):
        return family.feature_extractor()
    extractor = fetch(AutoFeatureExtractor, backbone)
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(
            f"model.backbone.name={backbone.name} needs audio at {extractor.sampling_rate} Hz;"
            f" this project works at {SAMPLE_RATE} Hz"
        )
    return extractor


def lacks_extractor(name: str) -> bool:
    """Whether a local folder does not describe its input; logs that the default is used."""
    lacks = is_folder(name) and not any((Path(name) / each).is_file() for each in EXTRACTORS)
    if lacks:
        log.warning("%s has no %s: the default of its family is used", name, EXTRACTORS[0])
    return lacks


def plain(described: Any) -> dict[str, Any]:
    """A Hugging Face configuration or feature extractor as plain values, for a checkpoint."""
    return json.loads(described.to_json_string())


def configure_execution(network: nn.Module, model: ModelConfig) -> None:
    """Turn on gradient checkpointing and torch.compile, as far as the settings ask for them.

    The names of the weights stay the same.
    """
    if model.gradient_checkpointing:
        for part in network.modules():
            if isinstance(part, PreTrainedModel):
                part.activation_checkpointing_enable()
                break
    if model.compile:
        network.compile(dynamic=True)  # lengths differ from batch to batch
