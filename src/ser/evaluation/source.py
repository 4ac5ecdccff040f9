"""Which model is evaluated: a checkpoint, an ensemble, or an audio classifier from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ser.config.backbone import BackboneConfig
from ser.config.evaluate import EvaluateConfig
from ser.errors import UserError
from ser.inference.ensemble import Ensemble, find_ensemble
from ser.inference.load import (
    TrainedModel,
    find_checkpoint,
    load_checkpoint,
    load_trained,
    require_checkpoint,
)
from ser.models.checkpoint import Checkpoint, CheckpointMetadata

ABSENT = -30.0  # log probability of a class that a classifier does not have


@dataclass(frozen=True)
class EvaluatedModel:
    """A model with the checkpoint whose data and split it is evaluated on.

    `path` names the model in reports, which are written beside it.
    """

    path: Path
    checkpoint: Checkpoint
    model: TrainedModel
    name: str | None = None  # of a classifier that the checkpoint does not describe
    members: tuple[str, ...] = ()  # of an ensemble; the checkpoint is that of the first one

    @property
    def metadata(self) -> CheckpointMetadata:
        """The metadata for reports."""
        metadata = self.checkpoint.metadata
        if self.name is None:
            return metadata
        backbone = BackboneConfig(self.name)
        model = replace(metadata.config.model, backbone=backbone)
        return replace(metadata, config=replace(metadata.config, model=model))


def open_model(config: EvaluateConfig) -> EvaluatedModel:
    """The model that a config names. Raises UserError if there is none, or no data for it."""
    checkpoint, ensemble = find_checkpoint(config.ckpt), find_ensemble(config.ckpt)
    if ensemble is not None:
        return open_ensemble(config, ensemble)
    if config.data_from is not None:
        return open_classifier(config, config.data_from)
    if checkpoint is None:
        if not Path(config.ckpt).expanduser().exists():
            raise UserError(
                f"ckpt={config.ckpt}: no such run folder or checkpoint; for a model of the hub"
                " (OWNER/NAME), add data_from=RUN"
            )
        raise UserError(
            f"ckpt={config.ckpt} does not record the data and the split of a training: add"
            " data_from=RUN to evaluate it on those of a run"
        )
    opened = Checkpoint.open(checkpoint)
    return EvaluatedModel(opened.path, opened, load_checkpoint(opened))


def open_ensemble(config: EvaluateConfig, file: Path) -> EvaluatedModel:
    """An ensemble. Raises UserError unless all its members are known to have the same split.

    The test part of one member could be the training part of another.
    """
    names = Ensemble.read(file).members
    members = [find_checkpoint(member) for member in names]
    opened = [Checkpoint.open(member) for member in members if member is not None]
    if not opened:
        raise UserError(f"{file}: no member is a checkpoint, so its training data are not known")
    same = len({each.metadata.manifest for each in opened}) == 1 and None not in members
    new = config.data.corpora or config.data.table is not None
    if not (same or new):
        raise UserError(
            f"ckpt={config.ckpt}: its members are not all checkpoints with the same data and split,"
            " so the test part of one may be in the training part of another; evaluate it on a"
            " corpus that is new to all of them (data=NAME)"
        )
    return EvaluatedModel(file, opened[0], load_trained(file), members=names)


def open_classifier(config: EvaluateConfig, data_from: str) -> EvaluatedModel:
    """A classifier on the data of a run, with its labels mapped to those of the run."""
    opened, model = Checkpoint.open(require_checkpoint(data_from)), load_trained(config.ckpt)
    labels = opened.metadata.labels
    mapped = map_labels(model, labels, config.label_map)
    name = config.ckpt.strip("/").replace("/", "--")
    # Reports are written beside the run whose data are used.
    path = opened.run_folder / f"{Path(name).name}.ckpt"
    return EvaluatedModel(path, opened, mapped, config.ckpt)


def map_labels(
    model: TrainedModel, labels: Sequence[str], label_map: Mapping[str, str | None]
) -> TrainedModel:
    """The model with these labels. A label of the model that is mapped to null is left out.

    Probabilities of labels that are mapped to the same emotion are added. A label without an entry
    is mapped to the emotion of the same name. Raises UserError for labels that cannot be mapped.
    """
    names = {label.casefold(): label for label in labels}
    unknown = [label for label in label_map if label not in model.labels]
    if unknown:
        raise UserError(f"label_map: the model has no label {unknown[0]}: {list(model.labels)}")
    targets = [label_map.get(label, names.get(label.casefold(), "")) for label in model.labels]
    for label, target in zip(model.labels, targets, strict=True):
        if target is not None and target not in labels:
            raise UserError(
                f"label_map: {label} needs one of {', '.join(labels)}, or null to leave it out:"
                f" label_map={{{label}: ...}}"
            )
    places = [-1 if target is None else labels.index(target) for target in targets]
    network: Any = MappedNetwork(model.network, places, len(labels))
    return replace(model, network=network, labels=tuple(labels), temperature=None)


class MappedNetwork(nn.Module):
    """A classifier whose classes are mapped to others; `places` are those of its classes.

    A place of -1 leaves a class out.
    """

    def __init__(self, network: nn.Module, places: Sequence[int], classes: int) -> None:
        super().__init__()
        self.network = network
        self.groups = [[i for i, place in enumerate(places) if place == c] for c in range(classes)]

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (batch, classes): log probabilities up to a constant."""
        logits = self.network(input_values, attention_mask=attention_mask).logits.float()
        logs = logits.log_softmax(1)
        columns = [
            logs[:, group].logsumexp(1) if group else torch.full_like(logs[:, 0], ABSENT)
            for group in self.groups
        ]
        return SequenceClassifierOutput(logits=torch.stack(columns, dim=1))  # pyright: ignore
