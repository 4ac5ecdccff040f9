"""Constant tensors of the features that are computed inside a network."""

from collections.abc import Callable
from functools import cache, wraps

import torch
from torch import nn

Build = Callable[[int], tuple[torch.Tensor, ...]]
Constants = Callable[[int, torch.device], tuple[torch.Tensor, ...]]


def built_once(build: Build) -> Constants:
    """Let a function that computes constants for a number of mel bands compute them once.

    The result is used on the given device, in training and inference. Tracing computes it anew,
    because it must not leave symbolic tensors behind.
    """

    def move(mels: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        # With plain tensors, torch.compile(dynamic=True) stops at sizes; see docs/workarounds.md.
        tensors = (each.float().to(device) for each in build(mels))
        return tuple(nn.Parameter(each, requires_grad=False) for each in tensors)

    @cache
    def keep(mels: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode(mode=False):
            return move(mels, device)

    traced = torch.compiler.assume_constant_result(move)

    @wraps(build)
    def constants(mels: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        return (traced if torch.compiler.is_compiling() else keep)(mels, device)

    return constants
