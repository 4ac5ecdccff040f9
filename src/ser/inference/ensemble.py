"""Several trained models as one: the weighted mean of their calibrated probabilities.

An ensemble is a folder with `ensemble.json`, which names the members and their weights. It is
loaded, evaluated, exported to ONNX and served like a single model.
"""

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ser.errors import UserError, require
from ser.models.inputs import normalize_batch
from ser.system.atomic import write_text

ENSEMBLE = "ensemble.json"
TINY = 1e-30  # smallest probability whose logarithm is taken


@dataclass(frozen=True)
class Ensemble:
    """The members of an ensemble (run folders, checkpoints or exported folders), with weights.

    The weights sum to 1.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]

    def write(self, folder: Path) -> None:
        """Write `ensemble.json`; members are named relative to the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        members = [os.path.relpath(member, folder) for member in self.members]
        content = {"members": members, "weights": list(self.weights)}
        write_text(folder / ENSEMBLE, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> "Ensemble":
        """Raises UserError if the file does not describe an ensemble."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            members = tuple(str(file.parent / member) for member in content["members"])
            weights = tuple(float(weight) for weight in content["weights"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} does not describe an ensemble: {error}") from error
        fits = len(members) == len(weights) > 0 and min(weights) >= 0 and sum(weights) > 0
        require(fits, str(file), weights, "needs a weight of 0 or more for each member")
        total = sum(weights)
        return cls(members, tuple(weight / total for weight in weights))


def find_ensemble(source: str | Path) -> Path | None:
    """The `ensemble.json` that a source names, as a file or by its folder; None for others."""
    path = Path(source).expanduser()
    candidates = (path / ENSEMBLE, path)
    return next((each for each in candidates if each.name == ENSEMBLE and each.is_file()), None)


class EnsembleNetwork(nn.Module):
    """Networks whose probabilities are averaged; each normalises its input as it needs.

    `order` maps the outputs of each member to the common order of the classes.
    """

    def __init__(self, models: Sequence[Any], weights: Sequence[float]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(model.network for model in models)
        self.normalizes = [model.normalizes for model in models]
        self.temperatures = [model.temperature or 1.0 for model in models]
        labels = models[0].labels
        self.order = [[model.labels.index(label) for label in labels] for model in models]
        self.weights = list(weights)

    def uncalibrated(self) -> "EnsembleNetwork":
        """The same networks without their temperatures."""
        copied = copy.copy(self)
        copied.temperatures = [1.0] * len(self.temperatures)
        return copied

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Log probabilities (batch, classes) of waveforms (batch, time) as recorded."""
        total: Any = 0.0
        for place, network in enumerate(self.networks):
            values = input_values
            if self.normalizes[place]:
                values = normalize_batch(input_values, attention_mask)
            logits = network(values, attention_mask=attention_mask).logits.float()
            probabilities = (logits[:, self.order[place]] / self.temperatures[place]).softmax(1)
            total = total + self.weights[place] * probabilities
        return SequenceClassifierOutput(logits=total.clamp(min=TINY).log())


def check_labels(labels: Sequence[tuple[str, ...]], members: Sequence[str]) -> None:
    """Raise UserError if members have different classes."""
    for member, others in zip(members, labels, strict=True):
        same = set(others) == set(labels[0])
        rule = f"has the classes {', '.join(others)}; the first member has {', '.join(labels[0])}"
        require(same, "member", member, rule)


def weigh_by_validation(scores: Sequence[float | None], classes: int) -> tuple[float, ...]:
    """Weights in proportion to the validation UAR above chance (classes are equally likely).

    Raises UserError if a member has no validation score, or if none is above chance.
    """
    if any(score is None for score in scores):
        raise UserError("--weights=validation: a member has no validation score; use equal weights")
    above = [max(0.0, float(score or 0) - 1 / classes) for score in scores]
    require(sum(above) > 0, "--weights", "validation", "no member is above chance in validation")
    return tuple(each / sum(above) for each in above)
