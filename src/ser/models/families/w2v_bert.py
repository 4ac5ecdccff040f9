"""w2v-BERT 2.0 (Barrault et al., 2023): causal Conformer layers on log-mel features.

The features are computed inside the network, so waveforms are the input as for every other
family. They are those of `SeamlessM4TFeatureExtractor`: 80 log-mel energies per 10 ms, each
standardised over the clip, and two consecutive frames joined.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import SeamlessM4TFeatureExtractor
from transformers.audio_utils import mel_filter_bank, window_function

from ser.audio.recording import SAMPLE_RATE
from ser.models.families.base import mark_speech
from ser.models.families.conformer import (
    CONFORMER_TARGETS,
    embed_relative_positions,
    embed_without_positions,
)
from ser.models.families.constants import built_once
from ser.models.families.wav2vec2 import Wav2Vec2Family

WINDOW, HOP, FOURIER = 400, 160, 512  # samples: 25 and 10 ms
BINS = FOURIER // 2 + 1
PREEMPHASIS = 0.97
FULL_SCALE = 2.0**15  # Kaldi's features are those of 16-bit integers
MEL_FLOOR = 1.192092955078125e-07
JOINED = 2  # frames per input of the network


class W2VBertFamily(Wav2Vec2Family):
    """Log-mel features, projection, Conformer layers; there is no feature encoder."""

    model_types = ("wav2vec2-bert",)
    lora_targets = CONFORMER_TARGETS

    def frontend(self, network: Any) -> list[nn.Module]:
        return []

    def feature_extractor(self) -> Any:
        return SeamlessM4TFeatureExtractor()

    def normalizes(self, extractor: Any) -> bool:
        return False  # the features are standardised instead

    def count_frames(self, config: Any, samples: Any) -> Any:
        return count_mel_frames(samples) // JOINED

    def hop(self, config: Any) -> int:
        return JOINED * HOP

    def final_norm(self, network: Any) -> nn.Module | None:
        return None

    def remove_final_norm(self, network: Any) -> None:
        """Nothing to remove: each layer ends with a norm of its own."""

    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return embed_without_positions(self, network, waveforms, lengths)

    def convolve(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> torch.Tensor:
        mels = int(network.config.feature_projection_input_dim) // JOINED
        features = log_mel(waveforms, lengths, mels)
        return features.to(network.base_model.feature_projection.projection.weight.dtype)

    def mask_frames(
        self, network: Any, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        return mark_speech(hidden.shape[1], self.count_frames(network.config, lengths))

    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        return {
            "attention_mask": self.attention_mask(network, hidden, attended),
            "relative_position_embeddings": embed_relative_positions(network.config, hidden),
            "conv_attention_mask": attended,
        }


def count_mel_frames(samples: Any) -> Any:
    """Number of windows that lie entirely within this many samples."""
    return (samples - WINDOW) // HOP + 1


def log_mel(waveforms: torch.Tensor, lengths: torch.Tensor | None, mels: int) -> torch.Tensor:
    """Joined log-mel features (batch, frames, 2 * mels) of waveforms (batch, time).

    Each mel channel has zero mean and unit variance over the frames of the clip. The Fourier
    transform is a matrix product, which every runtime has (ONNX).
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        basis, filters = constants(mels, waveforms.device)
        windows = waveforms.float().unfold(1, WINDOW, HOP)
        power = (windows @ basis).unflatten(-1, (2, BINS)).square().sum(-2)
        features = (power @ filters).clamp(min=MEL_FLOOR).log()
        features = standardize(features, lengths)
    frames = features.shape[1] // JOINED
    # Not len(): tracing would take the size of its batch for a constant.
    return features[:, : frames * JOINED].reshape(features.shape[0], frames, JOINED * mels)


def standardize(features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Features (batch, frames, mels) scaled over the frames of clips with `lengths` samples."""
    frames = features.shape[1]
    if lengths is None:
        valid = torch.ones_like(features[..., :1])
    else:
        ends = count_mel_frames(lengths)[:, None]
        valid = (torch.arange(frames, device=features.device) < ends)[..., None].float()
    count = valid.sum(1, keepdim=True)
    centred = (features - (features * valid).sum(1, keepdim=True) / count) * valid
    variance = centred.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + 1e-7)


@built_once
def constants(mels: int) -> tuple[torch.Tensor, ...]:
    """A matrix (samples, 2 * bins) that makes the spectrum of a window, and mel filters.

    The matrix removes the mean, emphasises high frequencies, and applies the window and the
    Fourier transform, all of which are linear.
    """
    identity = torch.eye(WINDOW, dtype=torch.float64)
    centring = identity - 1 / WINDOW
    emphasis = identity - PREEMPHASIS * pad(identity, (0, 0, 1, 0))[:-1].T
    emphasis[0, 0] = 1 - PREEMPHASIS
    window = torch.from_numpy(window_function(WINDOW, "povey", periodic=False)).double()
    time, bins = torch.arange(WINDOW, dtype=torch.float64), torch.arange(BINS, dtype=torch.float64)
    angles = 2 * torch.pi / FOURIER * time[:, None] * bins
    fourier = torch.cat([angles.cos(), -angles.sin()], dim=1)
    basis = FULL_SCALE * centring @ emphasis @ (window[:, None] * fourier)
    filters = mel_filter_bank(
        num_frequency_bins=BINS,
        num_mel_filters=mels,
        min_frequency=20,
        max_frequency=SAMPLE_RATE // 2,
        sampling_rate=SAMPLE_RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return basis, torch.from_numpy(filters)
