"""What differs between the families of backbones: one adapter per family.

An adapter turns waveforms into the input of the first transformer layer, and names the parts of
the Hugging Face model that the rest of the project works on. Adding a family costs one file with
an adapter and one line in `ser.models.families.registry`.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask

# Values of a frame mask (batch, frames).
PADDING, SPEECH, SILENCE = 0, 1, 2
"""Padding is ignored, speech is attended to and pooled, silence is attended to but not pooled."""


def is_readable(tensor: torch.Tensor) -> bool:
    """Whether Python may read values of a tensor: a GPU would have to finish all work first."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def mark_speech(frames: int, ends: torch.Tensor) -> torch.Tensor:
    """The mask (batch, frames) of clips that end after these numbers of frames (batch,)."""
    places = torch.arange(frames, device=ends.device)
    return torch.where(places < ends[:, None], SPEECH, PADDING)


class Family(ABC):
    """An adapter for the Hugging Face models with these values of `config.model_type`.

    Adapters have no state: the network is an argument, so that calls from several threads do not
    influence each other.
    """

    model_types: tuple[str, ...]
    # Linear layers inside a transformer layer that LoRA adapts, as a regular expression.
    lora_targets: str = r"\w+\.(q_proj|k_proj|v_proj|out_proj|intermediate_dense|output_dense)"
    # Whether the audio classifier of transformers can ignore padding, so that others can use it.
    masks_padding_elsewhere: bool = True
    adds_silence: bool = False  # whether `config.min_seconds` has an effect

    def max_seconds(self, config: Any) -> float | None:
        """Duration of the longest input in seconds; None: no limit."""
        return None

    @abstractmethod
    def encoder(self, network: Any) -> Any:
        """The module with the transformer layers."""

    @abstractmethod
    def frontend(self, network: Any) -> list[nn.Module]:
        """The modules between waveform and projection: the feature encoder."""

    def projection(self, network: Any) -> list[nn.Module]:
        """The modules between the feature encoder and SpecAugment."""
        return [network.base_model.feature_projection]

    def prepare(self, network: Any) -> None:  # noqa: B027 (most families need no change)
        """Change a new network so that padding has no effect, and adapters have one."""

    def unused(self, network: Any) -> list[nn.Module]:
        """Modules with pretrained weights that the forward pass does not use."""
        return []

    @abstractmethod
    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The input of the first layer (batch, frames, size) and the frame mask (batch, frames).

        `waveforms` are (batch, time), zero beyond `lengths` (batch,). Without lengths nothing is
        padded, and the mask is None unless the family adds silence.
        """

    @abstractmethod
    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        """Arguments of each layer besides the hidden states, for a mask (batch, frames) or None."""

    @abstractmethod
    def count_frames(self, config: Any, samples: Any) -> Any:
        """Number of frames for a number of samples, an int or a tensor."""

    def hop(self, config: Any) -> int:
        """Number of samples between the starts of two frames."""
        return int(getattr(config, "inputs_to_logits_ratio", 320))

    @abstractmethod
    def truncate(self, config: Any, layers: int) -> None:
        """Change a configuration so that the network ends after this many layers."""

    @abstractmethod
    def feature_extractor(self) -> Any:
        """The default Hugging Face feature extractor of the family."""

    def final_norm(self, network: Any) -> nn.Module | None:
        """The norm after the last layer, if the network has one."""
        return None

    def apply_final_norm(self, network: Any, hidden: torch.Tensor) -> torch.Tensor:
        """The final hidden states (batch, frames, size), given the output of the last layer."""
        norm = self.final_norm(network)
        return hidden if norm is None else norm(hidden)

    @abstractmethod
    def remove_final_norm(self, network: Any) -> None:
        """Drop the norm after the last layer; called if `truncate` removed layers."""

    def normalizes(self, extractor: Any) -> bool:
        """Whether each waveform is scaled to zero mean and unit variance before the network."""
        return bool(getattr(extractor, "do_normalize", False))

    def attention_mask(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> Any:
        """The mask in the form that the attention of the layers takes; None if nothing is masked.

        On a GPU it is not left out if no frame is masked, because finding out would wait.
        """
        return create_bidirectional_mask(
            config=self.encoder(network).config,
            inputs_embeds=hidden,
            attention_mask=attended,
            allow_is_bidirectional_skip=attended is None or is_readable(hidden),
        )

    def layers(self, network: Any) -> nn.ModuleList:
        return self.encoder(network).layers

    def depth(self, config: PreTrainedConfig) -> int:
        """Number of transformer layers of a configuration."""
        return int(config.num_hidden_layers)
