"""The same computations on a CPU by faster kernels than those that torch picks there.

Measured with torch 2.13 on an AMD EPYC with AVX-512, where Intel's MKL leaves half of the
processor idle: matrix products through oneDNN take half the time, dropout a fifth. On an Intel
processor they are no slower. GPUs, compiled and exported networks keep torch's own.
"""

import math
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# oneDNN reads it at its first use: its own limit of 1,024 is less than what the layers of a network
# need for the lengths of an epoch, and then every batch makes its kernels anew.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")
BITS = 16  # of a random number; a probability is rounded to so many


def choose(device: torch.device, *, repeated: bool = False) -> AbstractContextManager[Any]:
    """What to compute a network in on this device.

    With `repeated`, parts are computed again in the backward pass, outside of this context, where
    dropout would be another: then nothing is changed.
    """
    plain = device.type != "cpu" or repeated or torch.compiler.is_compiling()
    return nullcontext() if plain else FastKernels()


class FastKernels(TorchFunctionMode):
    """Replaces `linear`, `dropout` and `scaled_dot_product_attention` of torch inside."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear and through_onednn(*args, **kwargs):
            return torch.ops.mkldnn._linear_pointwise(*args, "none", [], "")
        if func is functional.dropout:
            return drop(*args, **kwargs)
        if func is functional.scaled_dot_product_attention and drops(**kwargs):
            return attend(*args, **kwargs)
        return func(*args, **kwargs)


def through_onednn(*tensors: torch.Tensor | None, **named: Any) -> bool:
    """Whether a matrix product can be left to oneDNN, whose operator knows no gradients.

    Autocast sends what it casts to bf16 there by itself.
    """
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and len(tensors) == 3
        and not named
        and all(each is None or each.dtype == torch.float32 for each in tensors)
    )


def draw_dropout(shape: torch.Size, p: float, dtype: torch.dtype) -> torch.Tensor:
    """What dropout multiplies by: 0 with probability p, else 1 / (1 - p).

    The seed is drawn from torch's generator, so the same seed there drops the same units.
    """
    dropped = round(p * 2**BITS)
    if dropped in (0, 2**BITS):
        return torch.full(shape, float(dropped == 0), dtype=dtype)
    count = math.prod(shape)
    seed = int(torch.randint(2**62, ()))
    words = np.random.SFC64(seed).random_raw(-(-count * BITS // 64))
    numbers = torch.from_numpy(words.view(np.int16)[:count]).view(shape)
    kept = numbers >= dropped - 2 ** (BITS - 1)
    return kept.to(dtype).mul_(2**BITS / (2**BITS - dropped))


def drop(
    input: torch.Tensor,  # noqa: A002 (the names in torch)
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """As `torch.nn.functional.dropout`."""
    del inplace
    return input * draw_dropout(input.shape, p, input.dtype) if training and p > 0 else input


def drops(dropout_p: float = 0.0, is_causal: bool = False, **_: Any) -> bool:
    return dropout_p > 0 and not is_causal


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
    **_: Any,
) -> torch.Tensor:
    """As `torch.nn.functional.scaled_dot_product_attention`, which has no kernel of its own here.

    With dropout it computes the attention weights (batch, heads, frames, frames) like this.
    """
    scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return drop(scores.softmax(-1), dropout_p) @ value
