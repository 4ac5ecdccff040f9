"""EmotionNetwork: an audio classifier over any backbone, in which padding has no effect.

The parts and the names of the weights are those of the Hugging Face audio classifiers: backbone,
projector, pooling over time, classifier. In addition the network can end after any layer, start
from hidden states that were computed before, and pool in other ways than by the mean.
"""

import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from ser.models.families.base import PADDING, SPEECH, Family
from ser.models.families.registry import FAMILIES
from ser.models.pooling import FeatureScaler, build_pooling, mark_quiet

HEAD = ("projector", "classifier", "pooling", "scaler", "layer_weights")


class EmotionNetwork(PreTrainedModel):
    """What `network_class` adds to a Hugging Face audio classifier.

    Settings of the configuration beyond those of Hugging Face: `pooling` (see
    `ser.models.pooling`), `use_projector`, `join_layers` (concatenate the pooled features of
    these), `standardize` (scale pooled features), `adaptable` (store what adaptation to speakers
    needs), `ends_early` (the network ends below the last layer of its backbone), `floor_db` (pool
    only frames above this level), `min_seconds` (see the Whisper family).
    """

    projector: nn.Module
    classifier: nn.Linear
    layer_weights: nn.Parameter

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.family.prepare(self)
        if getattr(config, "ends_early", False):
            self.family.remove_final_norm(self)
        size = int(config.hidden_size)
        if getattr(config, "use_projector", True):
            size = int(config.classifier_proj_size)
        else:
            self.projector = nn.Identity()
        self.pooling: Any = build_pooling(getattr(config, "pooling", "mean"), size)
        if not all(isinstance(layer, int) and 0 <= layer <= self.depth for layer in self.joined):
            raise ValueError(f"join_layers={self.joined}: the network has {self.depth} layers")
        size = self.pooling.output_size * max(1, len(self.joined))
        self.scaler = make_scaler(config, size)
        if size != self.classifier.in_features:
            self.classifier = nn.Linear(size, self.classifier.out_features)
        self.first_trained_layer = 0  # hidden states given as input enter this layer
        self.augments = True  # whether SpecAugment is applied in training

    @property
    def family(self) -> Family:
        return FAMILIES[self.config.model_type]

    @property
    def depth(self) -> int:
        """Number of transformer layers."""
        return len(self.family.layers(self))

    @property
    def weighted(self) -> bool:
        return bool(self.config.use_weighted_layer_sum)

    @property
    def joined(self) -> list[int]:
        """The layers whose pooled features are concatenated; empty for a single layer."""
        return list(getattr(self.config, "join_layers", []))

    @property
    def pools_several(self) -> bool:
        return self.weighted or bool(self.joined)

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """Logits (batch, classes) of waveforms (batch, time), or of what was computed from them.

        That is the output of `encode` (batch, frames, layers, size), or pooled features
        (batch, 1, features). The mask is that of the input, over samples or frames. With
        `output_hidden_states` the result also has the output of the embedding and of each layer,
        before the final norm, each (batch, frames, size). Raises ValueError if they are asked for
        and the input is not waveforms.
        """
        if not output_hidden_states:
            logits = self.classify_features(self.embed_utterances(input_values, attention_mask))
            return SequenceClassifierOutput(logits=logits)  # pyright: ignore
        if input_values.ndim != 2:
            raise ValueError("output_hidden_states needs waveforms as input, not hidden states")
        states, mask = self.run_unnormalized(
            input_values, attention_mask, self.depth, everything=True
        )
        logits = self.classify_features(self.pool(self.finish(states), mask))
        return SequenceClassifierOutput(logits=logits, hidden_states=tuple(states))  # pyright: ignore

    def run(
        self,
        waveforms: torch.Tensor,
        attention_mask: torch.Tensor | None,
        layer: int | None = None,
        *,
        everything: bool = False,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Hidden states (batch, frames, size) of waveforms (batch, time), and the frame mask.

        The last one is the output of number `layer` (0: the embedding; default: the last layer
        with its final norm). With `everything` the outputs of all layers below come first.
        """
        layer = self.depth if layer is None else layer
        states, mask = self.run_unnormalized(
            waveforms, attention_mask, layer, everything=everything
        )
        if layer == self.depth and not self.weighted:
            states[-1] = self.family.apply_final_norm(self, states[-1])
        return states, mask

    def run_unnormalized(
        self,
        waveforms: torch.Tensor,
        attention_mask: torch.Tensor | None,
        layer: int,
        *,
        everything: bool,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The same as `run`, without the final norm."""
        lengths = None if attention_mask is None else attention_mask.sum(-1)
        hidden, mask = self.family.embed(self, waveforms, lengths)
        states = [hidden]
        for output in self.run_layers(hidden, mask, 0, layer):
            states = [*states, output] if everything else [output]
        if mask is None:
            mask = torch.full(hidden.shape[:2], SPEECH, device=hidden.device)
        floor = getattr(self.config, "floor_db", None)
        if floor is not None:
            mask = mark_quiet(waveforms, mask, self.family.hop(self.config), floor)
        return states, mask

    def finish(self, states: list[torch.Tensor]) -> torch.Tensor:
        """What is pooled (batch, frames, layers, size) of the outputs of all or the last layer."""
        if self.weighted:
            return torch.stack(states, dim=2)
        last = self.family.apply_final_norm(self, states[-1])
        if self.joined:
            outputs = [*states[:-1], last]
            return torch.stack([outputs[layer] for layer in self.joined], dim=2)
        return last[:, :, None]

    def encode(
        self, waveforms: torch.Tensor, attention_mask: torch.Tensor | None, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (batch, frames, layers, size) that layer number `layer` receives.

        They are the input of that layer alone, or, if several layers are pooled, also the outputs
        of all layers below. The frame mask (batch, frames) comes with them.
        """
        states, mask = self.run(waveforms, attention_mask, layer, everything=self.pools_several)
        return torch.stack(states, dim=2), mask

    def resume(
        self, states: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Final hidden states, from the output of `encode` (batch, frames, layers, size)."""
        if mask is None:
            mask = torch.full(states.shape[:2], SPEECH, device=states.device)
        first, outputs = self.first_trained_layer, list(states.unbind(2))
        if first == self.depth:  # the last layer is normalised already
            return (states[:, :, self.joined] if self.joined else states), mask
        outputs += self.run_layers(outputs[-1], mask, first, self.depth)
        return self.finish(outputs), mask

    def run_layers(
        self, hidden: torch.Tensor, mask: torch.Tensor | None, first: int, last: int
    ) -> Iterator[torch.Tensor]:
        """The outputs (batch, frames, size) of the layers from `first` up to `last`."""
        if first == last:
            return
        attended = None if mask is None else mask != PADDING
        arguments = self.family.layer_arguments(self, hidden, attended)
        for layer in self.family.layers(self)[first:last]:
            if not self.skips_layer():
                hidden = layer(hidden, **arguments)
                if isinstance(hidden, tuple):  # WavLM also returns its position bias
                    hidden = hidden[0]
            yield hidden

    def skips_layer(self) -> bool:
        """LayerDrop (Fan et al., 2020): skip a layer at random in training."""
        share = float(getattr(self.config, "layerdrop", 0.0))
        return self.training and share > 0 and random.random() < share

    def pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pooled features (batch, features) of final hidden states, in full precision.

        States are (batch, frames, layers or 1, size), the frame mask is (batch, frames).
        """
        with torch.autocast(states.device.type, enabled=False):
            if self.joined:
                parts = [self.pooling(each.float(), mask == SPEECH) for each in states.unbind(2)]
                return torch.cat(parts, dim=1)
            if self.weighted:
                shares = self.layer_weights.float().softmax(0)
                states = torch.einsum("bfls,l->bfs", states.float(), shares)
            else:
                states = states[:, :, 0]
            frames = self.projector(states.to(self.classifier.weight.dtype))
            return self.pooling(frames.float(), mask == SPEECH)

    def embed_utterances(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Pooled features (batch, features) of the inputs of `forward`."""
        if input_values.ndim == 3:  # pooled already
            return input_values[:, 0].float()
        if input_values.ndim == 2:
            states, mask = self.run_unnormalized(
                input_values, attention_mask, self.depth, everything=self.pools_several
            )
            return self.pool(self.finish(states), mask)
        return self.pool(*self.resume(input_values.to(self.dtype), attention_mask))

    def classify_features(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) of pooled features (batch, features)."""
        with torch.autocast(features.device.type, enabled=False):
            scaled = self.scaler(features)
            return self.classifier(scaled.to(self.classifier.weight.dtype))

    def is_head(self, name: str) -> bool:
        """Whether a parameter or buffer belongs to the head rather than to the backbone."""
        return name.startswith(HEAD)

    def is_optional(self, name: str) -> bool:
        """Whether a pretrained backbone may lack this weight: a head's, or SpecAugment's vector."""
        return self.is_head(name) or name.endswith("masked_spec_embed")


def make_scaler(config: PreTrainedConfig, size: int) -> nn.Module:
    """The scaler of pooled features; networks of earlier versions are not adaptable."""
    if not getattr(config, "standardize", False):
        return nn.Identity()
    return FeatureScaler(size, adaptable=getattr(config, "adaptable", False))


def describe_class(plain: Mapping[str, Any]) -> tuple[Any, PreTrainedConfig]:
    """The class and the configuration of a network, from a configuration as plain values."""
    settings = dict(plain)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    return network_class(type(config)), config


@cache
def network_class(config_type: type[PreTrainedConfig]) -> type[EmotionNetwork]:
    """The Hugging Face audio classifier of a family, as an EmotionNetwork, under its own name.

    `save_pretrained` writes the name down, so that others can load an exported network.
    """
    family: Any = MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING[config_type]
    return type(family.__name__, (EmotionNetwork, family), {})
