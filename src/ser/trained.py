"""A trained model from wherever it lies: a run, a checkpoint, a Hugging Face folder, the hub."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoFeatureExtractor, Wav2Vec2FeatureExtractor

from ser.audio import SAMPLE_RATE
from ser.model import load_network, quieten_hub, read_validation
from ser.network import FAMILIES, EmotionNetwork, network_class

MAX_SECONDS = 30.0  # for a model that does not say how long its training clips were
CONFIG = "config.json"
OURS = "speech_emotion_recognition"  # our key in config.json: what transformers has no name for


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode, and what it takes to use it.

    `labels` are in the order of the logits; `temperature` divides them for calibrated
    probabilities, where one was fitted; `max_seconds` is the length of the longest training clips;
    `synthetic` says that it learned from tones that nobody spoke.
    """

    name: str
    network: EmotionNetwork
    feature_extractor: Wav2Vec2FeatureExtractor
    labels: tuple[str, ...]
    temperature: float | None
    max_seconds: float
    synthetic: bool = False


def load_trained(source: str | Path) -> TrainedModel:
    """The trained model of a run folder, a .ckpt, an exported folder, or OWNER/NAME on the hub.

    Only tensors and plain values are read: checkpoints with `weights_only`, other weights as
    safetensors, and no code from the hub is run. Raises ValueError for what is no such model,
    OSError for what cannot be had.
    """
    path = Path(source).expanduser()
    checkpoint = find_checkpoint(source)
    if checkpoint is not None:
        return load_checkpoint(checkpoint)
    if not path.is_dir():
        # What begins with a folder that is here, like runs/none, is no name on the hub.
        local = str(source).startswith((".", "/", "~")) or path.parent.is_dir()
        if str(source).count("/") == 1 and not local:
            return load_pretrained(str(source))
        raise ValueError(
            f"{source}: no such checkpoint; name a run folder, a .ckpt, an exported folder,"
            " or OWNER/NAME on the hub"
        )
    if (path / CONFIG).is_file():
        return load_pretrained(str(path))
    raise ValueError(f"{source} holds neither checkpoints/best.ckpt nor {CONFIG}")


def find_checkpoint(source: str | Path) -> Path | None:
    """The checkpoint that a file or a run folder stands for; None for a Hugging Face model."""
    path = Path(source).expanduser()
    if (path / CONFIG).is_file():
        return None
    candidates = (path, path / "checkpoints" / "best.ckpt", path / "best.ckpt")
    return next((each for each in candidates if each.is_file()), None)


def load_checkpoint(path: Path) -> TrainedModel:
    network, blueprint = load_network(path)
    return TrainedModel(
        name=str(path),
        network=network,
        feature_extractor=Wav2Vec2FeatureExtractor(**blueprint.feature_extractor),
        labels=tuple(blueprint.labels),
        temperature=read_validation(path).temperature,
        max_seconds=float(blueprint.config["data"]["max_seconds"]),
        synthetic=blueprint.config["data"].get("synthetic") is not None,
    )


def load_pretrained(name: str) -> TrainedModel:
    """Of a Hugging Face folder or hub name, exported from here or by others."""
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # else a thread asks the hub
    quieten_hub()
    try:
        config: Any = AutoConfig.from_pretrained(name)
        extractor = AutoFeatureExtractor.from_pretrained(name)
        if config.model_type not in FAMILIES or not isinstance(extractor, Wav2Vec2FeatureExtractor):
            raise ValueError(f"its family, {config.model_type}, is none of {', '.join(FAMILIES)}")
        loaded: Any = network_class(type(config)).from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"{name} holds no audio classifier in safetensors"
            f"{'' if Path(name).is_dir() else ', or is not to be had from the hub'}: {reason}"
        ) from error
    network, loading = loaded
    missing = sorted(loading["missing_keys"])
    if missing:
        raise ValueError(f"{name} is not trained as a classifier: {missing[0]} is missing")
    if extractor.sampling_rate != SAMPLE_RATE:
        raise ValueError(f"{name} wants {extractor.sampling_rate} Hz audio, not {SAMPLE_RATE} Hz")
    ours = getattr(config, OURS, {})
    return TrainedModel(
        name=name,
        network=network.eval(),
        feature_extractor=extractor,
        labels=tuple(config.id2label[index] for index in range(config.num_labels)),
        temperature=ours.get("temperature"),
        max_seconds=float(ours.get("max_seconds", MAX_SECONDS)),
        synthetic=bool(ours.get("synthetic", False)),
    )
