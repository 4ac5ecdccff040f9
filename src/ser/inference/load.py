"""Load a trained model from a run, a checkpoint, a Hugging Face folder or the hub."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoFeatureExtractor

from ser.audio.recording import SAMPLE_RATE
from ser.config.hub import may_be_on_hub, without_address
from ser.errors import HUB_HELP, UserError, first_line
from ser.inference.ensemble import Ensemble, EnsembleNetwork, check_labels, find_ensemble
from ser.inference.mistaken import CONFIG, explain_file, explain_folder
from ser.models.build import UNREADABLE_WEIGHTS, check_numbers, find_family, lacks_extractor
from ser.models.checkpoint import UNREADABLE, Checkpoint, explain_labels, not_finite
from ser.models.network import EmotionNetwork, network_class
from ser.models.precision import PrecisionParity, read_parity
from ser.system.files import compute_checksum, is_lfs_pointer
from ser.system.libraries import silence_hub

MAX_SECONDS = 30.0  # for a model that does not say how long its training clips were
OURS = "speech_emotion_recognition"  # our key in config.json, for what transformers has no name


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode, and what is needed to use it.

    `normalizes`: waveforms are scaled to zero mean and unit variance before the network. `labels`
    are in the order of the logits, which `temperature` divides for calibrated probabilities, if
    one was fitted. `max_seconds` is the length of the longest training clips. `synthetic`: the
    model was trained on generated audio.
    """

    name: str
    network: EmotionNetwork
    normalizes: bool
    labels: tuple[str, ...]
    temperature: float | None
    max_seconds: float
    synthetic: bool = False
    feature_extractor: Any = None  # of transformers, for exports
    parity: PrecisionParity | None = None  # of bf16 with fp32, if it was measured
    threshold: float | None = None  # confidence below which predictions are abstained from

    def uncalibrated(self) -> "TrainedModel":
        """The model without temperatures, and without the threshold, a calibrated confidence."""
        network: Any = self.network
        if isinstance(network, EnsembleNetwork):
            network = network.uncalibrated()
        return replace(self, network=network, temperature=None, threshold=None)


def load_trained(source: str | Path) -> TrainedModel:
    """The trained model of a run folder, a .ckpt, an ensemble, an exported folder, or OWNER/NAME.

    Only tensors and plain values are read: checkpoints with `weights_only`, other weights as
    safetensors, and no code from the hub is run. Raises UserError for any other source.
    """
    if not str(source):
        raise UserError("the name of the checkpoint is empty: is a shell variable not set?")
    source = without_address(str(source))
    path = Path(source).expanduser()
    ensemble = find_ensemble(source)
    if ensemble is not None:
        return load_ensemble(ensemble)
    checkpoint = find_checkpoint(source)
    if checkpoint is not None:
        return load_checkpoint(Checkpoint.open(checkpoint))
    if not path.is_dir():
        if may_be_on_hub(source):
            return load_pretrained(source)
        raise UserError(
            f"{source}: no such checkpoint; name a run folder, a .ckpt, an exported folder,"
            " or OWNER/NAME on the hub"
        )
    if (path / CONFIG).is_file():
        return load_pretrained(str(path))
    raise UserError(f"{source} holds neither checkpoints/best.ckpt nor {CONFIG}")


def find_checkpoint(source: str | Path) -> Path | None:
    """The checkpoint file of a source; the best one of a run folder. None for other models.

    Raises UserError for a file or folder that is neither.
    """
    path = Path(source).expanduser()
    if find_ensemble(path) is None and (problem := explain_mistake(path)):
        raise UserError(f"{source} {problem}")
    if (path / CONFIG).is_file() or find_ensemble(path) is not None:
        return None
    return next((each for each in (path, *best_checkpoints(path)) if each.is_file()), None)


def best_checkpoints(folder: Path) -> tuple[Path, Path]:
    """Where the best checkpoint is in a run folder, or in its folder of checkpoints."""
    return folder / "checkpoints" / "best.ckpt", folder / "best.ckpt"


def find_weights(source: str | Path) -> list[Path]:
    """The files that decide what a local model computes, those of all members of an ensemble."""
    path = Path(source).expanduser()
    if ensemble := find_ensemble(path):
        members = Ensemble.read(ensemble).members
        return [ensemble, *(file for member in members for file in find_weights(member))]
    checkpoint = find_checkpoint(path)
    return sorted(path.glob("*.safetensors")) if checkpoint is None else [checkpoint]


def require_checkpoint(source: str | Path) -> Path:
    """The checkpoint file of a run folder or checkpoint. Raises UserError for anything else."""
    checkpoint = find_checkpoint(source)
    if checkpoint is None:
        raise UserError(f"{source} is neither a run folder nor a checkpoint")
    return checkpoint


def explain_mistake(path: Path) -> str:
    """Why a path is no model, or "" if it may be one, or is not there."""
    if path.is_file():
        return explain_file(path)
    known = not path.is_dir() or any(each.is_file() for each in best_checkpoints(path))
    return "" if known else explain_folder(path)


def load_ensemble(file: Path) -> TrainedModel:
    """An ensemble, as one model whose logits are log probabilities.

    Raises UserError if a member is an ensemble too.
    """
    ensemble = Ensemble.read(file)
    for member in ensemble.members:
        if find_ensemble(member) is not None:  # it may be this one
            raise UserError(f"{file}: its member {member} is an ensemble; name the members of that")
    models = [load_trained(member) for member in ensemble.members]
    check_labels([model.labels for model in models], ensemble.members)
    network: Any = EnsembleNetwork(models, ensemble.weights).eval()
    return TrainedModel(
        name=str(file),
        network=network,
        normalizes=False,  # each member does
        labels=models[0].labels,
        temperature=None,
        max_seconds=min(model.max_seconds for model in models),
        synthetic=any(model.synthetic for model in models),
    )


def load_checkpoint(checkpoint: Checkpoint) -> TrainedModel:
    """The trained model of an open checkpoint."""
    metadata = checkpoint.metadata
    extractor = checkpoint.build_feature_extractor()
    return TrainedModel(
        name=str(checkpoint.path),
        network=checkpoint.load_network(),
        normalizes=metadata.family.normalizes(extractor),
        labels=metadata.labels,
        temperature=checkpoint.validation.temperature,
        max_seconds=metadata.config.data.max_seconds,
        synthetic=metadata.synthetic,
        feature_extractor=extractor,
        parity=checkpoint.validation.parity,
        threshold=checkpoint.validation.threshold,
    )


def read_number(settings: Mapping[str, Any], key: str, name: str) -> float | None:
    """A positive number of our settings in an exported folder, or None if it is not there."""
    value = settings.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(
            f"{name}: {OURS}.{key}={value} in {CONFIG} is not a positive number; export the model"
            " again"
        )
    return float(value)


def load_pretrained(name: str) -> TrainedModel:
    """The trained model of a Hugging Face folder or hub name, from this project or others."""
    config, extractor, network = read_pretrained(name)
    family = network.family
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(f"{name} needs {extractor.sampling_rate} Hz audio, not {SAMPLE_RATE} Hz")
    numbers = range(config.num_labels)
    if set(config.id2label) != set(numbers):
        raise UserError(
            f"{name}: its labels are not numbered 0 to {numbers[-1]}; correct id2label in {CONFIG}"
        )
    labels = tuple(config.id2label[number] for number in numbers)
    if problem := explain_labels(labels):
        raise UserError(f"{name}: {problem}; correct id2label in {CONFIG}")
    ours = getattr(config, OURS, {})
    if not isinstance(ours, Mapping):
        raise UserError(f"{name}: {OURS} in {CONFIG} is not an object; export the model again")
    verify_checksums(Path(name), ours.get("checksums"))
    temperature, threshold, most = (
        read_number(ours, key, name) for key in ("temperature", "threshold", "max_seconds")
    )
    try:
        parity = read_parity(ours.get("parity"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{name}: {OURS}.parity in {CONFIG} cannot be read; export the model again"
        ) from error
    if weight := next(not_finite(network), None):
        raise UserError(
            f"{name}: {weight} holds values that are not finite; copy or export it again"
        )
    longest = family.max_seconds(config) or MAX_SECONDS
    return TrainedModel(
        name=name,
        network=network.eval(),
        normalizes=family.normalizes(extractor),
        labels=labels,
        temperature=temperature,
        max_seconds=longest if most is None else most,
        synthetic=bool(ours.get("synthetic", False)),
        threshold=threshold,
        feature_extractor=extractor,
        parity=parity,
    )


def verify_checksums(folder: Path, checksums: Any) -> None:
    """Raise UserError if a file of an exported folder has changed since the export."""
    for file, expected in checksums.items() if isinstance(checksums, Mapping) else ():
        path = folder / Path(file).name
        if path.is_file() and compute_checksum(path) != expected:
            raise UserError(
                f"the checksum of {path} is wrong: the file has changed since the export; copy or"
                " export the model again"
            )


def read_pretrained(name: str) -> tuple[Any, Any, EmotionNetwork]:
    """Configuration, feature extractor and network of a Hugging Face folder or hub name.

    Raises UserError if something is missing or damaged, or the network is not that of the weights.
    """
    silence_hub()
    try:
        config: Any = AutoConfig.from_pretrained(name)
        family = find_family(config, name)  # raises UserError for an unknown one
        check_numbers(config.to_dict())
        extractor: Any = (
            family.feature_extractor()
            if lacks_extractor(name)
            else AutoFeatureExtractor.from_pretrained(name)
        )
        loaded: Any = network_class(type(config)).from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (*UNREADABLE, *UNREADABLE_WEIGHTS) as error:
        local = Path(name).is_dir()
        if local and any(map(is_lfs_pointer, Path(name).glob("*.safetensors"))):
            reason = "its weights are a Git LFS pointer: fetch them with `git lfs pull`"
            raise UserError(f"{name}: {reason}") from error
        if "ignore_mismatched_sizes" in str(error):
            raise UserError(
                f"{name}: the weights have other shapes than {CONFIG} describes, such as another"
                f" number of labels; restore {CONFIG}, or correct id2label in it"
            ) from error
        if local:
            reason = f"holds no audio classifier in safetensors ({first_line(error)})"
            raise UserError(f"{name} {reason}") from error
        raise UserError(
            f"{name} is not a file or folder here, and no audio classifier in safetensors of that"
            f" name is available from the hub ({first_line(error)}): {HUB_HELP}"
        ) from error
    network, loading = loaded
    if missing := sorted(loading["missing_keys"]):
        raise UserError(f"{name} is not trained as a classifier: {missing[0]} is missing")
    # Heads of a pretraining and a decoder may stay unused, but not layers of the encoder.
    layers = [key for key in loading["unexpected_keys"] if ".layers." in key]
    if unused := sorted(key for key in layers if "decoder" not in key):
        raise UserError(
            f"{name}: {CONFIG} does not describe the network of the weights, which also have"
            f" {unused[0]}; restore {CONFIG}, or export the model again"
        )
    return config, extractor, network
