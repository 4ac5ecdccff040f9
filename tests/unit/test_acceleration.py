from typing import Any

import pytest
import torch

from ser.acceleration import accelerate
from ser.config import ModelConfig
from ser.model import build_network


@pytest.fixture
def config(compose_config):
    def config(*overrides: str) -> ModelConfig:
        still = [f"+model.backbone.architecture.{part}_dropout=0.0" for part in ("hidden", "final")]
        parts = [
            f"+model.backbone.architecture.{part}_dropout=0.0"
            for part in ("attention", "activation", "feat_proj")
        ]
        return compose_config("backbone=tiny", "output_dir=x", *still, *parts, *overrides).model

    return config


def gradients(config: ModelConfig) -> list[torch.Tensor]:
    torch.manual_seed(0)
    network: Any = build_network(config, ["a", "b", "c"])
    accelerate(network, config)
    values = torch.randn(2, 8000)
    mask = torch.ones(2, 8000, dtype=torch.long)
    network(values, attention_mask=mask).logits.square().sum().backward()
    assert network.is_activation_checkpointing == config.gradient_checkpointing
    assert network.config._attn_implementation == "sdpa"
    return [p.grad for p in network.parameters() if p.grad is not None]


def test_gradient_checkpointing_changes_no_gradient(config):
    plain, saving = config(), config("model.gradient_checkpointing=true")
    pairs = zip(gradients(plain), gradients(saving), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)


@pytest.mark.parametrize("wanted", [True, False])
def test_tensor_float_32_is_as_set(config, wanted):
    gradients(config(f"model.tf32={wanted}"))
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == wanted


@pytest.mark.slow
def test_compilation_changes_no_gradient_beyond_rounding(config):
    pairs = zip(gradients(config()), gradients(config("model.compile=true")), strict=True)
    assert all(torch.allclose(one, other, atol=1e-4, rtol=1e-3) for one, other in pairs)


def test_layers_skipped_at_random_are_not_compiled(config):
    with pytest.raises(ValueError, match=r"model\.backbone\.layerdrop=0\.1: skips layers"):
        config("model.compile=true", "model.backbone.layerdrop=0.1")
