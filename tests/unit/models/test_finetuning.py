"""What is trained, at which rate, and what is active in training, for every family."""

import random
from typing import Any

import pytest
import torch

from ser.config.backbone import AdapterConfig
from ser.config.model import Mode, ModelConfig, Pooling
from ser.errors import UserError
from ser.models import spec_augment
from ser.models.build import configure_execution
from ser.models.finetuning import merge_adapters, parameter_groups

MODES: dict[str, dict[str, Any]] = {
    "full": {},
    "top1": {"top_layers": 1},
    "top3": {"top_layers": 3},
    "lora": {"mode": Mode.lora},
    "lora_top2": {"mode": Mode.lora, "top_layers": 2},
    "head": {"mode": Mode.head},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all weights": {"freeze_feature_encoder": False},
    "time masks": {"mask_time_prob": 0.3},
    "feature masks": {"mask_feature_prob": 0.3},
    "both masks": {"mask_time_prob": 0.3, "mask_feature_prob": 0.3},
    "weighted": {"weighted_layers": True},
    "attention": {"pooling": Pooling.attention},
    "statistics": {"pooling": Pooling.statistics},
    "checkpointing": {"gradient_checkpointing": True},
    "checkpointing all": {"gradient_checkpointing": True, "freeze_feature_encoder": False},
    "top layer": {"top_layers": 1, "mask_time_prob": 0.3, "weighted_layers": True},
    "lora": {"mode": Mode.lora, "lora": AdapterConfig(rank=2, dropout=0.1)},
    "lora top": {"mode": Mode.lora, "top_layers": 2, "gradient_checkpointing": True},
    "head": {"mode": Mode.head, "mask_time_prob": 0.3},
    "weighted head": {"mode": Mode.head, "weighted_layers": True, "pooling": Pooling.statistics},
}


def step(network: Any) -> None:
    waveforms = torch.randn(2, 6000, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 6000, dtype=torch.long)
    mask[0, 5000:] = 0
    network(waveforms, attention_mask=mask).logits.square().sum().backward()


def trained(network: Any) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def moved(network: Any) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_trains_every_family(tune, make_model, kind, option):
    """Exactly the trainable parameters get a gradient: DDP would wait for the others."""
    network = tune(kind, **OPTIONS[option])
    configure_execution(network, make_model(kind, **OPTIONS[option]))
    step(network)
    assert moved(network) == trained(network)
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_with_every_head(tune, mode, pooling, weighted):
    network = tune(pooling=pooling, weighted_layers=weighted, **MODES[mode])
    step(network)
    assert moved(network) == trained(network)


def dropouts(kind: dict[str, Any], share: float) -> dict[str, Any]:
    names = ("hidden", "attention", "activation", "feat_proj", "final", "conformer_conv")
    return {f"{name}_dropout": share for name in names} | {"dropout": share}


def test_dropout_is_active_in_training_only(tune, kind):
    """It sets a share of the input of the first layer to zero."""
    dropout = "feat_proj_dropout" if kind["model_type"] == "sew-d" else "hidden_dropout"
    network = tune(kind | dropouts(kind, 0.0) | {dropout: 0.3, "dropout": 0.3})
    if kind["model_type"] == "sew-d":  # it has no dropout after the squeeze
        hidden, _ = network.family.project(network, torch.randn(4, 16_000), None)
        assert (hidden == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
        return
    hidden, _ = network.family.embed(network, torch.randn(4, 16_000), None)
    share = (hidden == 0).float().mean().item()
    assert share == pytest.approx(0.3, abs=4 * (0.21 / hidden.numel()) ** 0.5)
    network.eval()
    hidden, _ = network.family.embed(network, torch.randn(4, 16_000), None)
    assert (hidden == 0).sum() == 0


def test_layers_are_dropped_in_training_only(tune, kind):
    network, calls = tune(kind, layerdrop=0.4), []
    for layer in network.family.layers(network):
        layer.register_forward_hook(lambda *_: calls.append(1))
    random.seed(0)
    passes, waveforms = 60, torch.randn(1, 4000)
    with torch.no_grad():
        for _ in range(passes):
            network(waveforms)
        assert len(calls) / (3 * passes) == pytest.approx(0.6, abs=4 * (0.24 / 180) ** 0.5)
        calls.clear()
        network.eval()(waveforms)
    assert len(calls) == 3


@pytest.mark.parametrize("option", ["mask_time_prob", "mask_feature_prob"])
def test_specaugment_is_active_in_training_of_layers_only(tune, kind, option, monkeypatch):
    shares = []

    def draw(*arguments: Any) -> torch.Tensor:
        mask = original(*arguments)
        shares.append(mask.float().mean().item())
        return mask

    original = spec_augment.draw_spans
    monkeypatch.setattr(spec_augment, "draw_spans", draw)
    network, waveforms = tune(kind, **{option: 0.3}), torch.randn(16, 16_000)
    with torch.no_grad():
        torch.manual_seed(1)
        first = network(waveforms).logits
        if kind.get("min_seconds") is None:
            assert sum(shares) / len(shares) == pytest.approx(0.3, abs=0.09)
        assert shares
        assert not torch.allclose(network.eval()(waveforms).logits, first)
        count = len(shares)
        network(waveforms)
        tune(kind, mode=Mode.head, **{option: 0.3})(waveforms)
    assert len(shares) == count


def test_gradient_checkpointing_changes_no_gradient(tune, make_model, kind):
    settings = {"freeze_feature_encoder": False, "architecture": kind | dropouts(kind, 0.0)}
    plain, saving = tune(**settings), tune(**settings)
    configure_execution(saving, make_model(**settings, gradient_checkpointing=True))
    step(plain)
    step(saving)
    assert saving.base_model.is_activation_checkpointing
    assert moved(saving) == moved(plain)
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, atol=1e-5, rtol=1e-4)


def test_the_modes_train_the_documented_parts(tune):
    parts = {
        name: {parameter.split(".")[0] for parameter in trained(tune(**mode))}
        for name, mode in MODES.items()
    }
    head = {"projector", "classifier"}
    assert parts.pop("head") == head
    assert all(part == head | {"wav2vec2"} for part in parts.values())
    full = trained(tune(mask_time_prob=0.1))
    assert not any("feature_extractor" in name for name in full)
    assert "wav2vec2.masked_spec_embed" in full
    every = trained(tune(freeze_feature_encoder=False))
    assert any("feature_extractor" in name for name in every)
    top = trained(tune(top_layers=1, mask_time_prob=0.1))
    assert {name.split(".")[3] for name in top if ".layers." in name} == {"2"}
    assert "wav2vec2.encoder.layer_norm.weight" in top
    assert not any(word in name for name in top for word in ("masked_spec", "pos_conv", "feature"))


def test_the_head_of_every_family_is_its_projector_and_classifier(tune, kind):
    assert {name.split(".")[0] for name in trained(tune(kind, mode=Mode.head))} == {
        "projector",
        "classifier",
    }


def test_adapters_are_added_to_attention_and_feed_forward_layers(tune):
    network = tune(mode=Mode.lora, top_layers=2)
    adapted = {name.split(".lora_")[0] for name in trained(network) if ".lora_" in name}
    assert len(adapted) == 2 * 6
    assert {name.split(".")[3] for name in adapted} == {"1", "2"}


ADAPTED = {"wav2vec2-conformer": 8, "wav2vec2-bert": 8}  # linear layers per layer; others 6


def test_every_adapter_has_an_effect_in_every_family(tune, kind):
    """Queries, keys, values, output projection and feed-forward layers."""
    network = tune(kind, mode=Mode.lora).eval()
    ups = [(n, p) for n, p in network.named_parameters() if ".lora_B" in n]
    assert len(ups) == 3 * ADAPTED.get(kind["model_type"], 6)
    waveforms = torch.randn(1, 8000)
    with torch.no_grad():
        before = network(waveforms).logits
        for name, parameter in ups:
            parameter.fill_(1.0)
            # A constant added to all keys would cancel in the softmax.
            parameter[::2] = -1.0
            assert (network(waveforms).logits - before).abs().max() > 1e-7, name
            parameter.zero_()


@pytest.mark.parametrize("mode", [name for name in MODES if name != "full"])
def test_the_backward_pass_does_not_enter_frozen_layers(tune, kind, mode):
    network, seen = tune(kind, **MODES[mode]), []
    below = max(network.first_trained_layer - 1, 0)
    network.family.layers(network)[below].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].requires_grad)
    )
    step(network)
    assert seen == [False]


def test_a_frozen_feature_encoder_is_left_out_of_the_backward_pass(tune, kind):
    """Hugging Face's own runs through it, because it makes its input require a gradient."""
    network, seen = tune(kind), []
    if not network.family.frontend(network):
        pytest.skip("the family has no feature encoder")
    network.family.frontend(network)[-1].register_forward_hook(
        lambda _, inputs, output: seen.append(output.requires_grad)
    )
    step(network)
    assert not any(seen)
    assert not any(
        p.requires_grad for m in network.family.frontend(network) for p in m.parameters()
    )


@pytest.mark.parametrize("mode", MODES)
def test_frozen_parts_are_in_evaluation_mode_and_the_others_in_training_mode(tune, kind, mode):
    network = tune(kind, **MODES[mode])
    first = network.first_trained_layer
    for number, layer in enumerate(network.family.layers(network)):
        assert all(part.training == (number >= first) for part in layer.modules())
    assert network.projector.training
    assert network.classifier.training
    assert network.training  # SpecAugment depends on it
    freezes = mode not in ("full", "lora")
    assert all(part.training != freezes for part in network.family.frontend(network))


def test_more_top_layers_than_the_network_has_is_an_error(tune):
    with pytest.raises(UserError, match=r"model\.top_layers=4"):
        tune(top_layers=4)


def rates(network: Any, config: ModelConfig) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(network, config)
        for parameter in group["params"]
    }


def test_the_head_has_its_own_rate_and_lower_layers_lower_ones(tune, make_model):
    config = make_model(lr=1e-4, classifier_lr=1e-2, layer_decay=0.5, weight_decay=0.1)
    network = tune()
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


def test_only_matrices_are_decayed(tune, make_model, kind):
    network, config = tune(kind), make_model(kind, weight_decay=0.1)
    decayed, free = parameter_groups(network, config)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(trained(network))


def test_merged_adapters_give_the_logits_of_the_adapted_network(tune, make_network, kind):
    network = tune(kind, mode=Mode.lora, lora=AdapterConfig(rank=4, alpha=12))
    before = make_network(kind).eval()
    for name, parameter in network.named_parameters():
        if ".lora_B" in name:  # zero at first, which would hide everything
            torch.nn.init.normal_(parameter, std=0.3)
    merged = make_network(kind, seed=1).eval()
    merged.load_state_dict(dict(merge_adapters(network.state_dict(), 12 / 4)))
    waveforms = torch.randn(2, 8000)
    with torch.no_grad():
        expected, logits = network.eval()(waveforms).logits, merged(waveforms).logits
        unadapted = before(waveforms).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    assert (logits - unadapted).abs().max() > 1e-3
