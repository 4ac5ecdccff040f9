"""Defects of libraries that this project works around. If a test fails, see docs/workarounds.md."""

import inspect

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision


def make_optimizer() -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    return torch.optim.AdamW([weight], lr=0.1, fused=True)


@pytest.mark.parametrize("skipped", [0.0, 1.0])
def test_a_fused_optimizer_skips_the_step_if_found_inf_is_one(skipped):
    optimizer = make_optimizer()
    optimizer.found_inf = torch.tensor(skipped)  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step()
    [weight] = optimizer.param_groups[0]["params"]
    assert torch.equal(weight.detach(), torch.ones(3)) == bool(skipped)


def test_lightning_still_refuses_to_clip_for_a_fused_optimizer_in_bf16():
    with pytest.raises(RuntimeError, match="fused"):
        MixedPrecision("bf16-mixed", "cpu").clip_gradients(make_optimizer(), 1.0)


def test_lightning_still_looks_for_set_epoch_one_level_too_deep():
    from lightning.fabric.utilities.data import _set_sampler_epoch

    class BatchSampler(torch.utils.data.Sampler):
        epoch = None

        def __iter__(self):
            return iter([[0]])

        def set_epoch(self, epoch):
            self.epoch = epoch

    sampler = BatchSampler()
    _set_sampler_epoch(torch.utils.data.DataLoader([0], batch_sampler=sampler), 3)  # pyright: ignore
    assert sampler.epoch is None


def test_lightning_still_builds_checkpoints_in_memory():
    from lightning.fabric.utilities.cloud_io import _atomic_save

    assert "BytesIO" in inspect.getsource(_atomic_save)


def test_lightning_still_uses_a_deprecated_class_of_torch():
    from lightning.pytorch.utilities import _pytree

    assert "LeafSpec()" in inspect.getsource(_pytree)


def test_transformers_still_converts_weight_files_on_the_hub():
    from transformers import modeling_utils

    assert "DISABLE_SAFETENSORS_CONVERSION" in inspect.getsource(modeling_utils)


def test_wavlm_still_computes_attention_past_its_adapters():
    from transformers.models.wavlm import modeling_wavlm

    assert "multi_head_attention_forward" in inspect.getsource(modeling_wavlm)
