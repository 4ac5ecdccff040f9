"""SEW and SEW-D (Wu et al., 2022): wav2vec 2.0 with half as many frames in the layers.

The frames are squeezed by `config.squeeze_factor` before the first layer. A clip with an odd
number of frames loses its last one, alone and in a batch alike. After the last layer the frames
are expanded again; here the expanded frames of each squeezed frame are averaged, which gives the
same mean over the clip.
"""

from typing import Any

import torch
from torch import nn

from ser.models.families.base import mark_speech
from ser.models.families.wav2vec2 import Wav2Vec2Family
from ser.models.feature_encoder import count_frames


class SEWFamily(Wav2Vec2Family):
    """SEW: feature encoder, projection, squeeze, transformer layers, expansion."""

    model_types = ("sew",)
    masks_padding_elsewhere = False  # the mean of transformers has a frame of zeros

    def projection(self, network: Any) -> list[nn.Module]:
        backbone = network.base_model
        projects = [backbone.feature_projection] if backbone.project_features else []
        return [backbone.layer_norm, *projects]

    def count_frames(self, config: Any, samples: Any) -> Any:
        return count_frames(config, samples) // int(config.squeeze_factor)

    def hop(self, config: Any) -> int:
        return super().hop(config) * int(config.squeeze_factor)

    def final_norm(self, network: Any) -> nn.Module | None:
        """The module that expands the frames after the last layer."""
        expansion = self.encoder(network).upsample
        return None if isinstance(expansion, nn.Identity) else expansion

    def apply_final_norm(self, network: Any, hidden: torch.Tensor) -> torch.Tensor:
        expansion = self.final_norm(network)
        if expansion is None:
            return hidden
        factor = int(network.config.squeeze_factor)
        return expansion(hidden).unflatten(1, (-1, factor)).mean(2)

    def remove_final_norm(self, network: Any) -> None:
        self.encoder(network).upsample = nn.Identity()

    def project_features(self, backbone: Any, features: torch.Tensor) -> torch.Tensor:
        features = backbone.layer_norm(features)
        if backbone.project_features:
            features = backbone.feature_projection(features)
        return backbone.feature_dropout(features)

    def squeeze(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Squeezed frames (batch, frames, size) with positions, and their mask."""
        encoder = self.encoder(network)
        hidden, _ = self.project(network, waveforms, lengths)
        channels = hidden.transpose(1, 2)
        pooled = encoder.pool(channels)
        positions = encoder.pos_conv_embed(channels)[..., : pooled.shape[-1]]
        squeezed = (pooled + positions).transpose(1, 2)
        if lengths is None:
            return squeezed, None
        return squeezed, mark_speech(squeezed.shape[1], self.count_frames(network.config, lengths))

    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        encoder = self.encoder(network)
        hidden, mask = self.squeeze(network, waveforms, lengths)
        return encoder.dropout(encoder.layer_norm(hidden)), mask


class SEWDFamily(SEWFamily):
    """SEW-D: SEW with the disentangled attention of DeBERTa (He et al., 2021)."""

    model_types = ("sew-d",)
    lora_targets = (
        r"(attention\.self\.(query_proj|key_proj|value_proj)"
        r"|attention\.output\.dense|intermediate\.dense|output\.dense)"
    )

    def layers(self, network: Any) -> nn.ModuleList:
        return self.encoder(network).encoder.layer

    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.squeeze(network, waveforms, lengths)

    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        from transformers.models.sew_d.modeling_sew_d import build_relative_position

        transformer = self.encoder(network).encoder
        frames = hidden.shape[1]
        if attended is None:
            attended = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        distances = build_relative_position(
            frames,
            frames,
            bucket_size=transformer.position_buckets,
            max_position=transformer.max_relative_positions,
            device=hidden.device,
        )
        return {
            "attention_mask": attended[:, None, None],
            "relative_pos": distances,
            "rel_embeddings": transformer.get_rel_embedding(),
        }
