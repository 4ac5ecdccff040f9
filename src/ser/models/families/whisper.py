"""The encoder of Whisper (Radford et al., 2022), without padding to 30 s.

The log-mel spectrogram is computed inside the network, so waveforms go in as for every other
family. Positions end with the longest clip of the batch, and padding is masked in convolutions,
attention and pooling, so a clip gives the same result alone and in a batch.
`config.min_seconds` of silence can follow shorter clips: it is attended to, as in the training of
Whisper, but not pooled.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu, pad
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from ser.audio.recording import SAMPLE_RATE
from ser.models.families.base import PADDING, SILENCE, SPEECH, Family
from ser.models.families.constants import built_once
from ser.models.spec_augment import mask_spans

WINDOW, HOP = 400, 160  # samples: 25 and 10 ms
HALF = WINDOW // 2
DYNAMIC_RANGE = 8.0  # in powers of ten below the loudest value of the clip


class WhisperFamily(Family):
    """Waveform, log-mel spectrogram, two convolutions, positions, transformer layers."""

    model_types = ("whisper",)
    lora_targets = r"(self_attn\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)"
    masks_padding_elsewhere = False  # it pads to 30 s, and attends to and pools over all of it
    adds_silence = True

    def max_seconds(self, config: Any) -> float | None:
        return 2 * HOP * config.max_source_positions / SAMPLE_RATE

    def encoder(self, network: Any) -> Any:
        return network.encoder

    def frontend(self, network: Any) -> list[nn.Module]:
        return [network.encoder.conv1, network.encoder.conv2]

    def feature_extractor(self) -> Any:
        return WhisperFeatureExtractor()

    def normalizes(self, extractor: Any) -> bool:
        return False  # the spectrogram is scaled by its own maximum

    def count_frames(self, config: Any, samples: Any) -> Any:
        return (count_mel_frames(samples) + 1) // 2

    def truncate(self, config: Any, layers: int) -> None:
        config.num_hidden_layers = config.encoder_layers = layers

    def final_norm(self, network: Any) -> nn.Module | None:
        norm = network.encoder.layer_norm
        return None if isinstance(norm, nn.Identity) else norm

    def remove_final_norm(self, network: Any) -> None:
        network.encoder.layer_norm = nn.Identity()

    def embed(
        self, network: Any, waveforms: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        encoder, config = network.encoder, network.config
        least = round(float(getattr(config, "min_seconds", 0.0)) * SAMPLE_RATE)
        masked = lengths is not None or waveforms.shape[1] < least
        if lengths is None:
            lengths = waveforms.new_full((len(waveforms),), waveforms.shape[1], dtype=torch.long)
        if least > 0:
            missing: Any = torch.sym_max(least - waveforms.shape[1], 0)
            silence = waveforms.new_zeros(waveforms.shape[0], missing)
            waveforms = torch.cat([waveforms, silence], dim=1)
        mel = log_mel(waveforms, lengths, config.num_mel_bins)  # (batch, frames, mels)
        attended = lengths.clamp(min=least)
        if network.training and network.augments:
            mel = mask_spans(mel, count_mel_frames(lengths), config, 0.0)
        hidden = self.convolve(encoder, mel, count_mel_frames(attended))
        self.check_length(config, hidden.shape[1])
        positions = encoder.embed_positions.weight[: hidden.shape[1]]
        hidden = hidden + positions.to(hidden.dtype)
        hidden = nn.functional.dropout(hidden, encoder.dropout, encoder.training)
        if not masked:
            return hidden, None
        frames = torch.arange(hidden.shape[1], device=hidden.device)
        spoken = self.count_frames(config, lengths)[:, None]
        known = self.count_frames(config, attended)[:, None]
        mask = torch.where(frames < known, SILENCE, PADDING)
        return hidden, torch.where(frames < spoken, SPEECH, mask)

    def check_length(self, config: Any, frames: int) -> None:
        """Raise ValueError if there are more frames than positions."""
        if not torch.compiler.is_compiling() and frames > config.max_source_positions:
            raise ValueError(f"Whisper takes at most {self.max_seconds(config):g} s at once")

    def convolve(self, encoder: Any, mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Hidden states (batch, frames / 2, size) of mel frames, of which `lengths` are valid."""
        valid = torch.arange(mel.shape[1], device=mel.device) < lengths[:, None]
        valid = valid[:, None].to(encoder.conv1.weight.dtype)
        features = mel.transpose(1, 2).to(encoder.conv1.weight.dtype) * valid
        frozen = not encoder.conv1.weight.requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            features = gelu(encoder.conv1(features)) * valid
            features = gelu(encoder.conv2(features))
        return features.transpose(1, 2)

    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        return {"attention_mask": self.attention_mask(network, hidden, attended)}


def count_mel_frames(samples: Any) -> Any:
    """Number of frames whose centre lies within this many samples."""
    return (samples + HOP - 1) // HOP


def log_mel(waveforms: torch.Tensor, lengths: torch.Tensor, mels: int) -> torch.Tensor:
    """Log-mel spectrograms (batch, frames, mels) as `WhisperFeatureExtractor` computes them.

    The frames are those of the clip extended with zeros; values are clipped against the maximum
    of the clip itself. A Fourier transform as a matrix product runs in every runtime, also where
    complex numbers are missing (ONNX).
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        frames = count_mel_frames(waveforms.shape[1])
        valid = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
        samples = waveforms.float() * valid
        right = frames * HOP - waveforms.shape[1] + HALF
        samples = torch.cat([samples[:, 1 : HALF + 1].flip(1), samples], dim=1)
        windows = pad(samples, (0, right)).unfold(1, WINDOW, HOP)[:, :frames]
        cosines, sines, filters = constants(mels, waveforms.device)
        # Cosines are symmetric about the middle of a window and sines antisymmetric, so both need
        # only one half of it. Shorter sums have smaller rounding errors.
        first, second = windows[..., 1 : HALF + 1], windows[..., HALF:].flip(-1)
        power = ((first + second) @ cosines).square() + ((first - second) @ sines).square()
        mel = (power @ filters).clamp(min=1e-10).log10()
        spoken = torch.arange(frames, device=mel.device) < count_mel_frames(lengths)[:, None]
        loudest = mel.masked_fill(~spoken[..., None], -10.0).amax((1, 2), keepdim=True)
        return (torch.maximum(mel, loudest - DYNAMIC_RANGE) + 4.0) / 4.0


@built_once
def constants(mels: int) -> tuple[torch.Tensor, ...]:
    """The cosines and sines of half a window (samples, bins), and the mel filters (bins, mels).

    The first sample of a Hann window is zero, so a half has the samples after it.
    """
    time, bins = torch.arange(1, HALF + 1).double(), torch.arange(HALF + 1).double()
    angles = 2 * torch.pi / WINDOW * time[:, None] * bins
    hann = torch.hann_window(WINDOW, periodic=True, dtype=torch.float64)[1 : HALF + 1, None]
    hann[-1] /= 2  # the middle sample is in both halves
    filters = mel_filter_bank(
        num_frequency_bins=HALF + 1,
        num_mel_filters=mels,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return angles.cos() * hann, angles.sin() * hann, torch.from_numpy(filters)
