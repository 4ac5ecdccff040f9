"""Tiny networks of every family, in each architecture that its published models have."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig
from ser.corpora.emotions import LABELS
from ser.data.dataset import Batch, Example, collate
from ser.data.sampler import SampleIndex
from ser.models.build import build_network
from ser.models.finetuning import set_trainable

CONVOLUTIONAL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 24,
}
GROUP = CONVOLUTIONAL | {"feat_extract_norm": "group", "do_stable_layer_norm": False}
LAYER = CONVOLUTIONAL | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
DATA2VEC = CONVOLUTIONAL | {"conv_pos_kernel_size": 19, "num_conv_pos_embeddings": 3}
WHISPER = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "classifier_proj_size": 24,
}
KINDS: dict[str, dict[str, Any]] = {
    f"{family}-{name}": {"model_type": family} | architecture
    for family in ("wav2vec2", "hubert", "wavlm", "unispeech-sat", "unispeech")
    for name, architecture in (("group", GROUP), ("layer", LAYER))
}
MEL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "classifier_proj_size": 24,
}
SQUEEZED = CONVOLUTIONAL | {"conv_dim": [16] * 13, "num_conv_pos_embeddings": 16}
SEW_D = {"position_buckets": 8, "max_position_embeddings": 16}
KINDS |= {
    **{
        f"conformer-{kind}": {"model_type": "wav2vec2-conformer", "position_embeddings_type": kind}
        | LAYER
        for kind in ("rotary", "relative")
    },
    **{
        f"w2v-bert-{kind}": {"model_type": "wav2vec2-bert", "position_embeddings_type": kind} | MEL
        for kind in ("relative_key", "rotary")
    },
    "sew": {"model_type": "sew", "feat_extract_norm": "group"} | SQUEEZED,
    "sew-d": {"model_type": "sew-d", "feat_extract_norm": "layer"} | SQUEEZED | SEW_D,
    "data2vec-audio": {"model_type": "data2vec-audio"} | DATA2VEC,
    "whisper": WHISPER,
    "whisper-silence": WHISPER | {"min_seconds": 1.0},
}


@pytest.fixture(scope="session")
def kinds() -> dict[str, dict[str, Any]]:
    return KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The architecture of a tiny network, for each kind of backbone in turn."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ModelConfig]:
    """Settings of a network with random weights, without SpecAugment unless asked for."""

    def make_model(
        architecture: dict[str, Any] = KINDS["wav2vec2-layer"], **options: Any
    ) -> ModelConfig:
        names = ("layerdrop", "mask_time_prob", "mask_feature_prob")
        backbone = {name: options.pop(name, 0.0) for name in names}
        architecture = dict(architecture)
        backbone["min_seconds"] = architecture.pop("min_seconds", 0.0)
        tiny = BackboneConfig("tiny", pretrained=False, architecture=architecture, **backbone)
        return ModelConfig(backbone=tiny, **options)

    return make_model


@pytest.fixture(scope="session")
def make_network(make_model) -> Callable[..., Any]:
    """A network in training mode. Norms and biases are random too, or they would hide errors."""

    def make_network(
        architecture: dict[str, Any] = KINDS["wav2vec2-layer"], seed: int = 0, **options: Any
    ) -> Any:
        torch.manual_seed(seed)
        network = build_network(make_model(architecture, **options), LABELS)
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        return network

    return make_network


@pytest.fixture(scope="session")
def tune(make_network, make_model) -> Callable[..., Any]:
    """A network of which only what the settings say is trained."""

    def tune(
        architecture: dict[str, Any] = KINDS["wav2vec2-layer"], seed: int = 0, **options: Any
    ) -> Any:
        network = make_network(architecture, seed, **options)
        set_trainable(network, make_model(architecture, **options))
        return network

    return tune


def make_clip(seconds: float, seed: int) -> Example:
    noise = np.random.default_rng(seed).normal(0, 1, round(16_000 * seconds))
    return Example(noise.astype(np.float32), 0, SampleIndex(seed), seconds)


@pytest.fixture(scope="session")
def clip() -> Callable[[float, int], Example]:
    return make_clip


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Three clips of different lengths, padded to the longest."""
    return collate([make_clip(0.4, 1), make_clip(1.2, 2), make_clip(0.8, 3)])
