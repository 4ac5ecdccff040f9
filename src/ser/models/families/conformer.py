"""Conformer layers (Gulati et al., 2020) with padding ignored, and wav2vec 2.0 Conformer."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import batch_norm
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerConvolutionModule,
    Wav2Vec2ConformerEncoderLayer,
)

from ser.models.families.wav2vec2 import Wav2Vec2Family

CONFORMER_TARGETS = (
    r"(self_attn\.(linear_q|linear_k|linear_v|linear_out)|ffn[12]\.(intermediate|output)_dense)"
)


class MaskedConvolution(Wav2Vec2ConformerConvolutionModule):
    """The convolution of a Conformer layer on frames (batch, frames, size) that may be padded.

    Batch normalisation always uses the pretrained statistics: those of a training batch would
    depend on its padding and on the other clips.
    """

    def forward(
        self, hidden_states: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        frames = self.layer_norm(hidden_states)
        if valid is not None:
            frames = frames * valid[..., None].to(frames.dtype)
        channels = self.glu(self.pointwise_conv1(frames.transpose(1, 2)))
        channels = self.depthwise_conv(channels)
        norm = self.batch_norm
        channels = batch_norm(
            *(channels, norm.running_mean, norm.running_var, norm.weight, norm.bias), eps=norm.eps
        )
        channels = self.dropout(self.pointwise_conv2(self.activation(channels)))
        return channels.transpose(1, 2)


class MaskedLayer(Wav2Vec2ConformerEncoderLayer):
    """A Conformer layer: half a feed-forward, attention, convolution, half a feed-forward."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        relative_position_embeddings: torch.Tensor | None = None,
        valid: torch.Tensor | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """The output (batch, frames, size); `valid` (batch, frames) is false for padding."""
        hidden = hidden_states + 0.5 * self.ffn1(self.ffn1_layer_norm(hidden_states))
        attended, _ = self.self_attn(
            self.self_attn_layer_norm(hidden),
            attention_mask=attention_mask,
            relative_position_embeddings=relative_position_embeddings,
            **options,
        )
        hidden = hidden + self.self_attn_dropout(attended)
        hidden = hidden + self.conv_module(hidden, valid)
        hidden = hidden + 0.5 * self.ffn2(self.ffn2_layer_norm(hidden))
        return self.final_layer_norm(hidden)


class Wav2Vec2ConformerFamily(Wav2Vec2Family):
    """wav2vec 2.0 with Conformer layers, and rotary or relative positions in their attention."""

    model_types = ("wav2vec2-conformer",)
    masks_padding_elsewhere = False  # not in its convolutions
    lora_targets = CONFORMER_TARGETS

    def prepare(self, network: Any) -> None:
        layer: Any
        for layer in self.layers(network):
            layer.__class__ = MaskedLayer
            layer.conv_module.__class__ = MaskedConvolution

    def unused(self, network: Any) -> list[nn.Module]:
        return [self.encoder(network).pos_conv_embed]  # transformers builds it and skips it

    def final_norm(self, network: Any) -> nn.Module | None:
        norm = self.encoder(network).layer_norm
        return None if isinstance(norm, nn.Identity) else norm

    def remove_final_norm(self, network: Any) -> None:
        self.encoder(network).layer_norm = nn.Identity()

    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return embed_without_positions(self, network, waveforms, lengths)

    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        return {
            "attention_mask": self.attention_mask(network, hidden, attended),
            "relative_position_embeddings": embed_relative_positions(network.config, hidden),
            "valid": attended,
        }


def embed_without_positions(
    family: Wav2Vec2Family, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`Family.embed` where the layers add positions themselves."""
    hidden, mask = family.project(network, waveforms, lengths)
    return family.encoder(network).dropout(hidden), mask


def embed_relative_positions(config: Any, hidden: torch.Tensor) -> torch.Tensor | None:
    """The position embeddings that the attention of all layers takes, for (batch, frames, size).

    Computed here, because the modules of `transformers` keep them from one call to the next,
    which is neither safe in several threads nor exportable.
    """
    if config.position_embeddings_type == "rotary":
        return embed_rotary_positions(config, hidden)
    if config.position_embeddings_type == "relative":
        return embed_sinusoids(int(config.hidden_size), hidden)
    return None  # relative_key: the attention computes them


def embed_rotary_positions(config: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Cosines and sines (2, frames, 1, 1, head size) of rotary positions (Su et al., 2021)."""
    size = int(config.hidden_size) // int(config.num_attention_heads)
    steps = torch.arange(0, size, 2, device=hidden.device, dtype=torch.float32)
    rates = 1.0 / float(config.rotary_embedding_base) ** (steps / size)
    frames = torch.arange(hidden.shape[1], device=hidden.device, dtype=torch.float32)
    angles = (frames[:, None] * rates).repeat(1, 2)[:, None, None]
    return torch.stack([angles.cos(), angles.sin()]).to(hidden.dtype)


def embed_sinusoids(size: int, hidden: torch.Tensor) -> torch.Tensor:
    """Sinusoids (1, 2 * frames - 1, size) of distances from frames - 1 down to 1 - frames."""
    steps = torch.arange(0, size, 2, device=hidden.device, dtype=torch.float32)
    rates = torch.exp(steps * -(math.log(10000.0) / size))
    frames = hidden.shape[1]
    distances = frames - 1 - torch.arange(2 * frames - 1, device=hidden.device)
    angles = distances[:, None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None].to(hidden.dtype)
