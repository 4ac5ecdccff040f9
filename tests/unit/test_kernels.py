"""The faster kernels compute what torch's own do."""

import pytest
import torch
from torch.nn import functional

from ser import kernels
from ser.kernels import FastKernels, draw_dropout

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("bias", [True, False])
def test_matrix_products_are_the_same(bias):
    layer = torch.nn.Linear(48, 96, bias=bias)
    for inputs in (torch.randn(2, 7, 48), torch.randn(48, 5).T, torch.randn(3, 48, 4).mT):
        with torch.no_grad():
            expected = layer(inputs)
            with FastKernels():
                found = layer(inputs)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert found.shape == expected.shape


def test_matrix_products_with_gradients_are_torchs_own():
    layer, inputs = torch.nn.Linear(4, 3), torch.randn(2, 4)
    with FastKernels():
        layer(inputs).sum().backward()
    torch.testing.assert_close(layer.weight.grad, inputs.sum(0).expand(3, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_the_share_asked_for_and_keeps_the_mean(dtype):
    noise = draw_dropout(torch.Size((1000, 1001)), 0.1, dtype).float()
    kept = noise > 0
    assert kept.float().mean().item() == pytest.approx(0.9, abs=1e-3)
    assert noise[kept].unique().tolist() == pytest.approx([1 / 0.9], rel=1e-2)
    # Neighbours are dropped independently of each other.
    assert (kept[:, 1:] & kept[:, :-1]).float().mean().item() == pytest.approx(0.81, abs=2e-3)
    assert (kept[1:] & kept[:-1]).float().mean().item() == pytest.approx(0.81, abs=2e-3)


def test_dropout_at_its_ends():
    ones = torch.ones(100)
    with FastKernels():
        assert functional.dropout(ones, 0.0).eq(1).all()
        assert functional.dropout(ones, 1.0).eq(0).all()
        assert functional.dropout(ones, 0.5, training=False).eq(1).all()
        assert set(functional.dropout(ones, 0.5).tolist()) == {0.0, 2.0}


def test_the_seed_of_torch_decides_what_is_dropped():
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([draw_dropout(torch.Size((64,)), 0.5, torch.float32) for _ in range(2)])

    first = drawn(1)
    assert drawn(1).equal(first)
    assert not drawn(2).equal(first)
    assert not first[0].equal(first[1])


def test_gradients_pass_where_units_are_kept():
    inputs = torch.ones(1000, requires_grad=True)
    with FastKernels():
        dropped = torch.nn.Dropout(0.25)(inputs)
    dropped.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.equal(dropped.detach())


@pytest.mark.parametrize("kind", ["bool", "float", "none"])
def test_attention_with_dropout_is_that_of_torch_but_for_what_is_dropped(kind):
    query, key, value = torch.randn(3, 2, 4, 9, 8).unbind(0)
    valid = torch.arange(9) < torch.tensor([9, 5])[:, None, None, None]
    mask = {
        "bool": valid,
        "float": torch.zeros(valid.shape).masked_fill(~valid, -1e9),
        "none": None,
    }
    attend = functional.scaled_dot_product_attention
    expected = attend(query, key, value, attn_mask=mask[kind])
    with FastKernels():
        tiny = attend(query, key, value, attn_mask=mask[kind], dropout_p=1e-9)
        many = torch.stack(
            [attend(query, key, value, attn_mask=mask[kind], dropout_p=0.1) for _ in range(3000)]
        )
    torch.testing.assert_close(tiny, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(many.mean(0), expected, rtol=0, atol=0.05)
    assert many.std(0).min() > 0


def test_nothing_is_changed_where_parts_are_computed_twice_or_elsewhere():
    assert isinstance(kernels.choose(CPU), FastKernels)
    assert not isinstance(kernels.choose(CPU, repeated=True), FastKernels)
    assert not isinstance(kernels.choose(torch.device("cuda")), FastKernels)
