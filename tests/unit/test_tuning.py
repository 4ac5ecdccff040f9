from typing import Any

import pytest
import torch

from ser.labels import LABELS
from ser.model import build_network
from ser.model_config import AdapterConfig, BackboneConfig, Mode, ModelConfig, Pooling
from ser.network import FAMILIES, EmotionNetwork
from ser.tuning import (
    find_matrices,
    first_trained_layer,
    merge_adapters,
    parameter_groups,
    set_trainable,
)

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
}
MODES: list[dict[str, Any]] = [
    {},
    {"top_layers": 1},
    {"top_layers": 3},
    {"mode": Mode.lora},
    {"mode": Mode.lora, "top_layers": 2},
    {"mode": Mode.head},
]
NAMES = ["full", "top1", "top3", "lora", "lora_top2", "head"]


def tune(
    family: str = "wav2vec2", mask: float = 0.05, **options: Any
) -> tuple[EmotionNetwork, ModelConfig]:
    architecture = TINY | {"model_type": family, "feat_extract_norm": "layer"}
    if family != "data2vec-audio":
        architecture["do_stable_layer_norm"] = True
    backbone = BackboneConfig("x", pretrained=False, architecture=architecture, mask_time_prob=mask)
    config = ModelConfig(backbone=backbone, **options)
    torch.manual_seed(0)
    network = build_network(config, LABELS)
    set_trainable(network, config)
    return network, config


def step(network: EmotionNetwork) -> None:
    waveform = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    network(waveform).logits.square().sum().backward()


def trained(network: EmotionNetwork) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_exactly_what_is_trained_gets_a_gradient(mode, pooling, weighted):
    """DDP would wait for ever for the gradient of a parameter that no loss depends on."""
    network, _ = tune(pooling=pooling, weighted_layers=weighted, **mode)
    step(network)
    moved = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert moved == trained(network)


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_tuned_in_every_mode(family, mode):
    network, _ = tune(family, **mode)
    step(network)
    moved = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert moved == trained(network)


def test_the_modes_train_what_they_say():
    parts = {
        name: {parameter.split(".")[0] for parameter in trained(tune(**mode)[0])}
        for name, mode in zip(NAMES, MODES, strict=True)
    }
    head = {"projector", "classifier"}
    assert parts.pop("head") == head
    assert all(part == head | {"wav2vec2"} for part in parts.values())
    full = trained(tune()[0])
    assert not any("feature_extractor" in name for name in full)
    assert "wav2vec2.masked_spec_embed" in full
    assert any(
        "feature_extractor" in name for name in trained(tune(freeze_feature_encoder=False)[0])
    )
    top = trained(tune(top_layers=1)[0])
    assert {name.split(".")[3] for name in top if ".layers." in name} == {"2"}
    assert "wav2vec2.encoder.layer_norm.weight" in top
    assert not any(word in name for name in top for word in ("masked_spec", "pos_conv", "feature"))


def test_adapters_are_beside_attention_and_feed_forward_of_the_trained_layers():
    names = trained(tune(mode=Mode.lora, top_layers=2)[0])
    adapted = {name.split(".lora_")[0] for name in names if ".lora_" in name}
    assert len(adapted) == 2 * 6
    assert {name.split(".")[3] for name in adapted} == {"1", "2"}
    wavlm = {n.split(".")[-4] for n in trained(tune("wavlm", mode=Mode.lora)[0]) if "lora_A" in n}
    assert wavlm == {"intermediate_dense", "output_dense"}


@pytest.mark.parametrize("mode", MODES[1:], ids=NAMES[1:])
def test_autograd_does_not_run_through_what_is_frozen(mode):
    network, config = tune(**mode)
    first = first_trained_layer(network, config)
    seen = []
    network.backbone.encoder.layers[max(first - 1, 0)].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].requires_grad)
    )
    step(network)
    assert seen == [False]
    assert not network.backbone.feature_extractor(torch.randn(1, 8000)).requires_grad


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_what_is_frozen_is_in_evaluation_mode_and_the_rest_in_training_mode(mode):
    network, config = tune(**mode)
    first = first_trained_layer(network, config)
    for number, layer in enumerate(network.backbone.encoder.layers):
        assert all(part.training == (number >= first) for part in layer.modules())
    assert network.projector.training
    assert network.classifier.training
    assert network.backbone.feature_projection.training == (not config.freezes_layers)
    assert network.backbone.training == (mode.get("mode") != Mode.head)  # SpecAugment


def test_more_top_layers_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"model\.top_layers=4: x has 3 transformer layers"):
        tune(top_layers=4)


def rates(network: EmotionNetwork, config: ModelConfig) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(network, config, find_matrices(network))
        for parameter in group["params"]
    }


def test_the_head_has_a_rate_of_its_own_and_lower_layers_lower_ones():
    network, config = tune(lr=1e-4, classifier_lr=1e-2, layer_decay=0.5, weight_decay=0.1)
    found = rates(network, config)
    assert set(found) == trained(network)
    layer = "wav2vec2.encoder.layers.{}.feed_forward.output_dense.weight"
    assert found["classifier.weight"] == (1e-2, 0.1)
    assert found["classifier.bias"] == (1e-2, 0.0)
    assert found[layer.format(2)] == (1e-4, 0.1)
    assert found[layer.format(1)] == (0.5e-4, 0.1)
    assert found[layer.format(0)] == (0.25e-4, 0.1)
    assert found["wav2vec2.feature_projection.projection.weight"] == (0.125e-4, 0.1)
    assert found["wav2vec2.encoder.layer_norm.weight"] == (1e-4, 0.0)


def test_merged_adapters_give_the_logits_of_the_adapted_network():
    adapters = AdapterConfig(rank=4, alpha=12)
    network, config = tune(mode=Mode.lora, lora=adapters, mask=0.0)
    for name, parameter in network.named_parameters():
        if ".lora_B" in name:  # they start at zero, which would hide everything
            torch.nn.init.normal_(parameter, std=0.3)
    merged = build_network(config, LABELS)
    before = merged.eval()(torch.ones(1, 8000)).logits
    merged.load_state_dict(merge_adapters(network.state_dict(), 12 / 4))
    waveform = torch.randn(2, 8000)
    with torch.no_grad():
        expected, logits = network.eval()(waveform).logits, merged(waveform).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    assert (logits[:1] - before).abs().max() > 1e-3
