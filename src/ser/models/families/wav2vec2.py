"""wav2vec 2.0 and the families with the same parts: HuBERT, Data2Vec-Audio, UniSpeech(-SAT)."""

from typing import Any

import torch
from torch import nn
from transformers import Wav2Vec2FeatureExtractor

from ser.audio.recording import SAMPLE_RATE
from ser.models.families.base import PADDING, SPEECH, Family, mark_speech
from ser.models.feature_encoder import count_frames, encode_features
from ser.models.spec_augment import mask_spans


class Wav2Vec2Family(Family):
    """Waveform, convolutions, projection, positional convolution, transformer layers."""

    model_types = ("wav2vec2", "hubert", "data2vec-audio", "unispeech-sat", "unispeech")

    def encoder(self, network: Any) -> Any:
        return network.base_model.encoder

    def frontend(self, network: Any) -> list[nn.Module]:
        return [network.base_model.feature_extractor]

    def feature_extractor(self) -> Any:
        return Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE, return_attention_mask=True)

    def count_frames(self, config: Any, samples: Any) -> Any:
        return count_frames(config, samples)

    def truncate(self, config: Any, layers: int) -> None:
        config.num_hidden_layers = layers

    def final_norm(self, network: Any) -> nn.Module | None:
        """Backbones that normalise before each layer normalise once more after the last one."""
        encoder = self.encoder(network)
        stable = type(encoder).__name__.endswith("StableLayerNorm")
        return encoder.layer_norm if stable else None

    def remove_final_norm(self, network: Any) -> None:
        if self.final_norm(network) is not None:
            self.encoder(network).layer_norm = nn.Identity()

    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        encoder = self.encoder(network)
        hidden, mask = self.project(network, waveforms, lengths)
        hidden = hidden + self.embed_positions(encoder, hidden, mask)
        if self.final_norm(network) is None and not isinstance(encoder.layer_norm, nn.Identity):
            hidden = encoder.layer_norm(hidden)
        return encoder.dropout(hidden), mask

    def project(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Projected features (batch, frames, size), zero beyond the clip, and the frame mask.

        SpecAugment is applied in training.
        """
        backbone = network.base_model
        hidden = self.project_features(backbone, self.convolve(network, waveforms, lengths))
        mask = None if lengths is None else self.mask_frames(network, hidden, lengths)
        if network.training and network.augments:
            hidden = self.augment(backbone, hidden, mask)
        if mask is not None:
            hidden = hidden * (mask != PADDING)[..., None].to(hidden.dtype)
        return hidden, mask

    def convolve(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> torch.Tensor:
        """The output (batch, frames, channels) of the feature encoder."""
        backbone = network.base_model
        frozen = not any(p.requires_grad for p in backbone.feature_extractor.parameters())
        recompute = network.training and backbone.is_activation_checkpointing
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            return encode_features(
                backbone.feature_extractor.conv_layers, waveforms, lengths, recompute=recompute
            )

    def project_features(self, backbone: Any, features: torch.Tensor) -> torch.Tensor:
        """Features (batch, frames, channels) at the size of the layers."""
        projected = backbone.feature_projection(features)
        return projected[0] if isinstance(projected, tuple) else projected  # HuBERT: a tensor

    def mask_frames(
        self, network: Any, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """The frame mask (batch, frames) of clips with these numbers of samples."""
        return mark_speech(hidden.shape[1], count_frames(network.config, lengths))

    def augment(
        self, backbone: Any, hidden: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """SpecAugment on the projected features, with the backbone's own mask vector."""
        config = backbone.config
        if config.mask_time_prob == 0 and config.mask_feature_prob == 0:
            return hidden
        batch, frames, _ = hidden.shape
        whole = torch.full((batch,), frames, device=hidden.device)
        lengths = whole if mask is None else (mask == SPEECH).sum(1)
        return mask_spans(hidden, lengths, config, backbone.masked_spec_embed)

    def embed_positions(
        self, encoder: Any, hidden: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Positional convolutions; Data2Vec has several, and padding is zeroed before each."""
        layers = getattr(encoder.pos_conv_embed, "layers", None)
        if layers is None:
            return encoder.pos_conv_embed(hidden)
        channels = hidden.transpose(1, 2)
        for layer in layers:
            if mask is not None:
                channels = channels * (mask != PADDING)[:, None].to(channels.dtype)
            channels = layer(channels)
        return channels.transpose(1, 2)

    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        return {"attention_mask": self.attention_mask(network, hidden, attended)}
