"""Checkpoints that refer to frozen pretrained weights instead of repeating them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import xxhash

from ser.errors import HUB_HELP, UserError, first_line
from ser.models.build import UNREADABLE_WEIGHTS
from ser.models.network import EmotionNetwork, describe_class
from ser.system.libraries import silence_hub

KEY = "backbone"  # of a checkpoint
ADAPTED = ".base_layer"  # part of the name of a weight beside which peft puts an adapter
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class BackboneReference:
    """Where frozen weights come from: a hub name or a folder, a revision, and their digest.

    `weights` are their names in the network.
    """

    name: str
    revision: str | None
    digest: str
    weights: tuple[str, ...]

    @classmethod
    def of(
        cls, network: EmotionNetwork, name: str, revision: str | None
    ) -> "BackboneReference | None":
        """The reference to the frozen weights of a network, if they are most of its weights."""
        frozen = {
            key: value.detach()
            for key, value in network.named_parameters()
            if not (value.requires_grad or network.is_optional(key))
        }
        total = sum(value.numel() for value in network.parameters())
        if 2 * sum(value.numel() for value in frozen.values()) < total:
            return None
        return cls(name, revision, digest(frozen), tuple(sorted(frozen)))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "BackboneReference":
        return cls(**{**plain, "weights": tuple(plain["weights"])})

    def to_plain(self) -> dict[str, Any]:
        return asdict(self) | {"weights": list(self.weights)}

    def load(self, settings: dict[str, Any]) -> Weights:
        """The weights, by the configuration of the network.

        Raises UserError if the backbone is not available, or has other weights.
        """
        silence_hub()
        kind, config = describe_class(settings)
        options = {"dtype": torch.float32, "ignore_mismatched_sizes": True}
        try:
            network = kind.from_pretrained(
                self.name, revision=self.revision, config=config, **options
            )
        except UNREADABLE_WEIGHTS as error:
            raise UserError(
                f"the checkpoint refers to the backbone {self.name}, which is neither a local model"
                f" folder nor available from the hub ({first_line(error)}): {HUB_HELP}, or use a"
                " complete checkpoint (save_backbone=true)"
            ) from error
        state = network.state_dict()
        found = {key: state[key.replace(ADAPTED, "")] for key in self.weights}
        self.check(digest(found))
        return found

    def check(self, found: str) -> None:
        """Raise UserError if the weights of the backbone have another digest."""
        if found != self.digest:
            raise UserError(
                f"the weights of the backbone {self.name} are not those that the checkpoint was"
                " trained with; set model.backbone.revision, or restore the folder"
            )


def digest(weights: Weights) -> str:
    """A hash of weights and their names, whatever file they came from."""
    state = xxhash.xxh3_128()
    for name in sorted(weights):
        state.update(name.encode())
        state.update(weights[name].cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def leave_out(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without the weights that it has a reference to."""
    if KEY not in checkpoint:
        return checkpoint
    names = {f"network.{name}" for name in checkpoint[KEY]["weights"]}
    state = {k: v for k, v in checkpoint["state_dict"].items() if k not in names}
    return checkpoint | {"state_dict": state}
