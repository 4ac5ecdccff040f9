"""EmotionNetwork: any audio classifier of the wav2vec 2.0 family, with padding made harmless.

A Hugging Face classifier is a backbone (feature encoder, transformer layers), a projector, a mean
over the frames and a classifier. Here it can also be entered in the middle, at hidden states that
were computed before, and the mean can be another pooling.
"""

from functools import cache
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import SequenceClassifierOutput

from ser import kernels
from ser.model_config import Pooling
from ser.pooling import POOLINGS

# The families with the same parts under the same names, `model_type` in their configurations.
FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat", "unispeech")


class MaskedGroupNorm(nn.GroupNorm):
    """Group normalisation over the valid frames only, so padding does not change the result.

    The first convolution of wav2vec2-base and its kin normalises over time, padding included,
    which makes a prediction depend on the longest neighbour in its batch. `lengths` (batch,)
    counts the valid frames; where it is None this is the plain layer.
    """

    lengths: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in torch)
        if self.lengths is None:
            return super().forward(input)
        if input.device.type == "cpu" and not torch.compiler.is_compiling():
            return self.normalise_each(input, self.lengths)
        return self.normalise_together(input, self.lengths)

    def normalise_together(self, input: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """All utterances (batch, channels, time) by one formula; one group a channel."""
        frames = input.float()
        valid = torch.arange(frames.shape[-1], device=frames.device) < lengths[:, None]
        count = lengths[:, None, None].to(frames.dtype)
        # These are the largest tensors of the network, so as few of them as can be: the moments
        # first, and one multiplication and addition in place of centring and scaling.
        kept = frames * valid[:, None]
        mean = kept.sum(-1, keepdim=True) / count
        power = torch.linalg.vector_norm(kept, dim=-1, keepdim=True).square() / count
        del kept
        variance = (power - mean.square()).clamp(min=0)
        scale = torch.rsqrt(variance + self.eps) * self.weight[:, None]
        return torch.addcmul(self.bias[:, None] - mean * scale, frames, scale).to(input.dtype)

    def normalise_each(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The plain layer over the valid frames of each utterance; zeros beyond them.

        On a CPU its fused kernel takes a fifth (bf16) to two thirds of the time of the formula
        for all of them; on a GPU the lengths would have to be waited for.
        """
        each = (
            super(MaskedGroupNorm, self).forward(row[None, :, :length])
            for row, length in zip(frames, lengths.tolist(), strict=True)
        )
        whole = frames.shape[-1]
        if torch.is_grad_enabled() and (frames.requires_grad or self.weight.requires_grad):
            return torch.cat([nn.functional.pad(row, (0, whole - row.shape[-1])) for row in each])
        first = next(each)
        result = first.new_empty(frames.shape)
        for row, place in zip(chain((first,), each), result, strict=True):
            place[:, : row.shape[-1]] = row[0]
            place[:, row.shape[-1] :] = 0
        return result


def count_frames(config: Any, samples: int) -> int:
    """How many frames a backbone makes of so many samples.

    In plain arithmetic, because the twin in transformers goes through a tensor, which no exporter
    can follow where the length is dynamic.
    """
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    if getattr(config, "add_adapter", False):
        for _ in range(config.num_adapter_layers):
            samples = (samples - 1) // config.adapter_stride + 1
    return samples


class EmotionNetwork(PreTrainedModel):
    """What `network_class` adds to a Hugging Face audio classifier.

    `config.pooling` (mean, attention or statistics) and `config.use_weighted_layer_sum` say what
    is above the transformer layers; with `mean` it computes what the Hugging Face class does.
    """

    projector: nn.Linear
    classifier: nn.Linear
    layer_weights: nn.Parameter

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        size = self.projector.out_features
        self.pooling = POOLINGS[Pooling(getattr(config, "pooling", "mean"))](size)
        if self.pooling.output_size != size:
            self.classifier = nn.Linear(self.pooling.output_size, self.classifier.out_features)
        self.resumed_layer = self.depth  # where hidden states given as input go in
        self.frame_mask: torch.Tensor | None = None
        self.group_norms: list[tuple[Any, MaskedGroupNorm]] = []
        self.ignore_padding()

    @property
    def backbone(self) -> Any:
        return self.base_model

    @property
    def depth(self) -> int:
        return len(self.backbone.encoder.layers)

    @property
    def normalises_last(self) -> bool:
        """Whether the encoder normalises before each layer, and so once more after the last."""
        return type(self.backbone.encoder).__name__.endswith("StableLayerNorm")

    @property
    def weighted(self) -> bool:
        return bool(self.config.use_weighted_layer_sum)

    def ignore_padding(self) -> None:
        """Mend the two kinds of layer that look across the end of an utterance."""
        for layer in self.backbone.feature_extractor.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                masked = MaskedGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
                layer.layer_norm = masked
                self.group_norms.append((layer, masked))
        # Data2Vec has a row of positional convolutions, and only the first sees zeros as padding.
        for layer in getattr(self.backbone.encoder.pos_conv_embed, "layers", []):
            layer.register_forward_pre_hook(self.silence_padding)

    def silence_padding(self, _: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """Zero what is padding in (batch, channels, frames)."""
        if self.frame_mask is None:
            return inputs
        return (inputs[0] * self.frame_mask[:, None].to(inputs[0].dtype),)

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits (batch, classes) of waveforms (batch, time), or of what `encode` returned.

        The mask is that of the input: samples for waveforms, frames for hidden states.
        """
        if input_values.ndim == 2:
            states, mask = self.encode(input_values, attention_mask, self.depth)
        else:
            states, mask = self.resume(input_values.to(self.dtype), attention_mask)
        return SequenceClassifierOutput(logits=self.classify(states, mask))  # pyright: ignore

    def encode(
        self, waveforms: torch.Tensor, attention_mask: torch.Tensor | None, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (batch, frames, 1, size) that layer number `layer` would be given.

        With weighted layers those of all layers below come first, (batch, frames, layer + 1,
        size). The number of layers stands for the output of the last one. The mask of the frames,
        (batch, frames), comes with them.
        """
        frames = count_frames(self.config, waveforms.shape[1])
        padded = attention_mask is not None
        if attention_mask is None:
            attention_mask = waveforms.new_ones(waveforms.shape, dtype=torch.long)
        mask = self.backbone._get_feature_vector_attention_mask(frames, attention_mask)
        everything = self.weighted or layer < self.depth
        # Without padding the plain layers are faster.
        self.tell_lengths(attention_mask.sum(-1) if padded else None, mask if padded else None)
        repeated = self.training and self.backbone.is_activation_checkpointing
        with kernels.choose(waveforms.device, repeated=repeated):
            output = self.backbone(
                waveforms, attention_mask=attention_mask, output_hidden_states=everything
            )
        # Gradient checkpointing computes the layers once more; nobody else may find them told.
        if not repeated:
            self.tell_lengths(None, None)
        if self.weighted:
            return torch.stack(output.hidden_states[: layer + 1], dim=2), mask
        states = output.hidden_states[layer] if everything else output.last_hidden_state
        return states[:, :, None], mask

    def tell_lengths(self, samples: torch.Tensor | None, mask: torch.Tensor | None) -> None:
        """Tell the mended layers where each utterance ends; None where nothing is padded."""
        self.frame_mask = mask
        for layer, norm in self.group_norms:
            kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
            norm.lengths = None if samples is None else (samples - kernel) // stride + 1

    def resume(
        self, states: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go on from what `encode` returned, through the layers above, to what it ends with."""
        valid = states.new_ones(states.shape[:2]) if mask is None else mask
        valid = valid.bool()
        encoder, first = self.backbone.encoder, self.resumed_layer
        hidden, outputs = states[:, :, -1], [states]
        arguments = self.layer_arguments(hidden, valid)
        repeated = self.training and self.backbone.is_activation_checkpointing
        with kernels.choose(states.device, repeated=repeated):
            for layer in encoder.layers[first:]:
                hidden = layer(hidden, **arguments)
                if isinstance(hidden, tuple):  # WavLM hands its position bias on, unchanged
                    hidden = hidden[0]
                outputs.append(hidden[:, :, None])
        if self.weighted:
            return torch.cat(outputs, dim=2), valid
        if first < self.depth and self.normalises_last:
            hidden = encoder.layer_norm(hidden)
        return hidden[:, :, None], valid

    def layer_arguments(self, hidden: torch.Tensor, valid: torch.Tensor) -> dict[str, Any]:
        """What the encoder of the family hands to each of its layers besides hidden states."""
        encoder = self.backbone.encoder
        first = encoder.layers[0].attention
        if not hasattr(first, "compute_bias"):
            mask = create_bidirectional_mask(
                config=encoder.config, inputs_embeds=hidden, attention_mask=valid
            )
            return {"attention_mask": mask}
        batch, frames, _ = hidden.shape
        bias = first.compute_bias(frames, frames)  # (heads, frames, frames)
        return {"attention_mask": valid, "position_bias": bias.repeat(batch, 1, 1)}

    def classify(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) of final hidden states (batch, frames, layers or 1, size)."""
        dtype = self.projector.weight.dtype
        with torch.autocast(states.device.type, enabled=False):
            if self.weighted:
                shares = self.layer_weights.float().softmax(0)
                states = torch.einsum("bfls,l->bfs", states.float(), shares)
            else:
                states = states[:, :, 0]
            frames = self.projector(states.to(dtype))
            return self.classifier(self.pooling(frames.float(), mask).to(dtype))


@cache
def network_class(config_type: type[PreTrainedConfig]) -> type[EmotionNetwork]:
    """The Hugging Face audio classifier of a family, as an EmotionNetwork, under its own name.

    The name is what `save_pretrained` writes down, so others can load an exported network.
    """
    family: Any = MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING[config_type]
    return type(family.__name__, (EmotionNetwork, family), {})
