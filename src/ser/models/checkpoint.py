"""A checkpoint of this project: opened once, read in parts, without running any code in it."""

import math
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any

import torch
from huggingface_hub.errors import StrictDataclassError

from ser.config.model import Mode
from ser.config.plain import from_plain, to_plain
from ser.config.train import TrainConfig
from ser.errors import UserError
from ser.metrics.calibration import TemperatureFit
from ser.models.backbone_reference import KEY, BackboneReference
from ser.models.build import restore_network
from ser.models.families.base import Family
from ser.models.families.registry import FAMILIES
from ser.models.finetuning import merge_adapters
from ser.models.network import EmotionNetwork
from ser.models.precision import PrecisionParity, read_parity
from ser.system.files import is_lfs_pointer

SCHEMA = 2  # of the metadata; 1 had no `schema` field
# What is raised for a file that is not a checkpoint, or not the expected one.
UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, StrictDataclassError, RuntimeError, KeyError),
    *(TypeError, EOFError, IndexError, AttributeError, ValueError, ArithmeticError, zlib.error),
    *(ImportError, StopIteration),
)


@dataclass(frozen=True)
class CheckpointMetadata:
    """Everything about a trained model except its weights.

    `config` is the configuration of the run, `network` and `feature_extractor` are the Hugging
    Face configurations, `manifest` is the fingerprint of the split manifest.
    """

    config: TrainConfig
    labels: tuple[str, ...]
    sample_rate: int
    network: dict[str, Any]
    feature_extractor: dict[str, Any]
    manifest: str
    schema: int = SCHEMA

    def to_plain(self) -> dict[str, Any]:
        """Plain values only: what a checkpoint stores as hyperparameters."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {"config": to_plain(self.config), "labels": list(self.labels)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "CheckpointMetadata":
        """The inverse, also for the metadata of earlier versions."""
        known: dict[str, Any] = {"schema": 1}
        known |= {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        known |= {"config": from_plain(plain["config"]), "labels": tuple(plain["labels"])}
        return cls(**known)

    @property
    def family(self) -> Family:
        return FAMILIES[self.network["model_type"]]

    @property
    def synthetic(self) -> bool:
        """Whether the model was trained on generated audio."""
        return self.config.data.synthetic is not None


@dataclass(frozen=True)
class Validation:
    """What the validation part says about a checkpoint; None if it says nothing.

    `temperature` divides the logits for calibrated probabilities; `fit` says how it was chosen.
    `uar` is the UAR of these weights. `threshold` is the calibrated confidence below which
    predictions are abstained from. `parity` compares bf16 with fp32.
    """

    temperature: float | None = None
    uar: float | None = None
    parity: PrecisionParity | None = None
    threshold: float | None = None
    fit: TemperatureFit | None = None


class Checkpoint:
    """An open checkpoint: its metadata, weights, validation results and training state.

    Only tensors and plain values are unpickled, and the weights stay on disk until they are used.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content
        self.metadata = CheckpointMetadata.from_plain(content["hyper_parameters"])

    @classmethod
    def open(cls, path: str | Path) -> "Checkpoint":
        """Open a checkpoint file and verify its checksums.

        Raises UserError if it is anything else, or damaged.
        """
        path = Path(path).expanduser()
        try:
            with zipfile.ZipFile(path) as archive:
                changed = archive.testzip()
                if changed is not None:
                    raise UserError(f"the checksum of {changed} is wrong")
                check_storages(archive)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            schema = content["hyper_parameters"].get("schema", 1)
            if schema <= SCHEMA:
                return cls(path, content)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
        except UserError as error:
            raise damaged(path, str(error)) from error
        except UNREADABLE as error:
            raise damaged(path, "") from error
        raise UserError(f"{path} was written by a newer version of this project; update it")

    @property
    def run_folder(self) -> Path:
        """The folder of the run that wrote the checkpoint."""
        return run_folder(self.path)

    @cached_property
    def validation(self) -> Validation:
        """Raises UserError if the values are not numbers, or are impossible."""
        names = {"temperature": "temperature", "uar": "val_uar", "threshold": "threshold"}
        found = {field: self.content.get(key) for field, key in names.items()}
        try:
            values = {k: None if v is None else float(v) for k, v in found.items()}
            parity = read_parity(self.content.get("parity"))
            fitted = self.content.get("temperature_fit")
            fit = None if fitted is None else TemperatureFit(**fitted)
        except UNREADABLE as error:
            raise damaged(self.path, "its validation results are not numbers") from error
        possible = {
            "temperature": lambda value: 0 < value < math.inf,
            "threshold": lambda value: 0 <= value <= 1,
            "uar": lambda value: 0 <= value <= 1 or math.isnan(value),
        }
        for name, value in values.items():
            if value is not None and not possible[name](value):
                raise damaged(self.path, f"its {name} is {value}")
        return Validation(**values, parity=parity, fit=fit)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights of the network by name, with low-rank adapters beside those they adapt.

        Those that the checkpoint refers to are loaded from the backbone. Raises UserError if it is
        not available or has changed.
        """
        prefix = "network."
        state = self.content["state_dict"]
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if KEY not in self.content:
            return own
        reference = BackboneReference.from_plain(self.content[KEY])
        if own.keys() >= set(reference.weights):
            return own
        return own | reference.load(self.metadata.network)

    def build_feature_extractor(self) -> Any:
        """The Hugging Face feature extractor of the backbone. Raises UserError if it is none."""
        try:
            kind = type(self.metadata.family.feature_extractor())
            return kind(**self.metadata.feature_extractor)
        except UNREADABLE as error:
            raise damaged(self.path, "its feature extractor is not valid") from error

    def load_network(self) -> EmotionNetwork:
        """The trained network in evaluation mode, with low-rank adapters merged into the weights.

        Raises UserError if the weights do not fit the network that the metadata describes.
        """
        model = self.metadata.config.model
        try:
            weights = self.weights
            if model.mode == Mode.lora:
                weights = dict(merge_adapters(weights, model.lora.alpha / model.lora.rank))
            network = restore_network(self.metadata.network, weights)
        except UserError as error:  # the backbone that it refers to, or an unknown pooling
            raise UserError(f"{self.path}: {error}") from error
        except UNREADABLE as error:
            raise damaged(self.path, "its weights do not fit its description") from error
        if name := next(not_finite(network), None):
            raise damaged(self.path, f"{name} holds values that are not finite")
        if problem := explain_labels(self.metadata.labels):
            raise damaged(self.path, problem)
        if len(self.metadata.labels) != network.classifier.out_features:
            raise damaged(self.path, "its numbers of labels and outputs differ")
        return network


class StorageSizes(pickle.Unpickler):
    """Reads from the pickle of a checkpoint how large its storages are; nothing is built or run."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.sizes: dict[str, int] = {}  # in bytes, by the name of the storage

    def find_class(self, module_name: str, global_name: str, /) -> type["Placeholder"]:
        return type(global_name, (Placeholder,), {})

    def persistent_load(self, pid: Any) -> "Placeholder":
        _, kind, name, _, number = pid
        self.sizes[str(name)] = number * item_size(kind.__name__)
        return Placeholder()


@cache
def item_size(kind: str) -> int:
    """Bytes of an item of a class of storages: FloatStorage 4, UntypedStorage 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the classes that its files name
        return getattr(getattr(torch, kind), "dtype", torch.uint8).itemsize


class Placeholder:
    """Stands for any object of a pickle: takes what pickle gives it, and forgets it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass


def check_storages(archive: zipfile.ZipFile) -> None:
    """Raise UserError if a stored tensor is shorter than its description says.

    `torch.load` with `mmap` would read on into the next tensor of the file.
    """
    pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    with archive.open(pickled) as file:
        reader = StorageSizes(file)
        reader.load()
    folder = pickled.removesuffix(".pkl")
    for name, size in reader.sizes.items():
        if archive.getinfo(f"{folder}/{name}").file_size < size:
            raise UserError(f"{folder}/{name} is shorter than its tensor")


def explain_labels(labels: Sequence[object]) -> str:
    """What is wrong with the names of the classes, or ""."""
    if not all(isinstance(label, str) and label for label in labels):
        return "its labels are not text"
    return "two of its labels are the same" if len(set(labels)) < len(labels) else ""


def damaged(path: Path, reason: str) -> UserError:
    if is_lfs_pointer(path):
        return UserError(f"{path} is a Git LFS pointer: fetch the file with `git lfs pull`")
    detail = f" ({reason})" if reason else ""
    return UserError(f"{path} is not a checkpoint of this project, or is damaged{detail}")


def not_finite(network: EmotionNetwork) -> Iterator[str]:
    """The names of the weights that hold infinities or NaN."""
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            yield name


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint file belongs to."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder
