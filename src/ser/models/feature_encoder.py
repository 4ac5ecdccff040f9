"""The convolutional feature encoder of the wav2vec 2.0 family, with padding ignored.

Features are (batch, frames, channels). A convolution is also a matrix product over a strided view
of them, which is faster where norms are over channels or the processor has matrix units.

The first layer of wav2vec2-base normalises over time. In `transformers` that includes padding,
so a prediction depends on the longest clip of its batch. Here every norm sees the valid frames
of its own clip only.
"""

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ser.models.families.base import is_readable

MATRIX_UNITS = torch.cpu._is_amx_tile_supported()  # of the CPU: Intel AMX


def count_frames(config: Any, samples: Any) -> Any:
    """Number of frames that the convolutions make of a number of samples.

    Plain arithmetic, because exporters cannot follow the function in `transformers` if the length
    is dynamic. `samples` is an int or an integer tensor.
    """
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def encode_features(
    layers: nn.ModuleList,
    waveforms: torch.Tensor,
    lengths: torch.Tensor | None,
    *,
    recompute: bool = False,
) -> torch.Tensor:
    """Features (batch, frames, channels) of waveforms (batch, time).

    `lengths` (batch,) counts the valid samples; None means that nothing is padded. With
    `recompute` the activations are computed again in the backward pass (gradient checkpointing).
    """
    run: Any = multiply_layer if prefers_products(layers, waveforms.device) else convolve_layer
    features = waveforms[..., None].to(weight_type(layers))
    layer: Any
    for layer in layers:
        if lengths is not None:
            lengths = (lengths - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
        if recompute and torch.is_grad_enabled():
            features = checkpoint(run, layer, features, lengths, use_reentrant=False)
        else:
            features = run(layer, features, lengths)
    return features


def prefers_products(layers: nn.ModuleList, device: torch.device) -> bool:
    """Whether matrix products are faster than convolutions, by measurement (see `benchmarks/`).

    A layer norm needs its input channels-last, so convolutions would be transposed twice per
    layer. With a group norm, products are faster only on matrix units (Intel AMX). A trainable
    encoder always uses convolutions; GPUs have not been measured. Exports use products
    everywhere, because quantisation of ONNX models covers matrix products only.
    """
    if torch.compiler.is_exporting():
        return True
    if device.type != "cpu" or torch.is_grad_enabled():
        return False
    norm = getattr(layers[0], "layer_norm", None)
    return not isinstance(norm, nn.GroupNorm) or multiplies_in_bf16(weight_type(layers))


def weight_type(layers: nn.ModuleList) -> torch.dtype:
    first: Any = layers[0]
    return first.conv.weight.dtype


def multiplies_in_bf16(dtype: torch.dtype) -> bool:
    """Whether weights of this type are multiplied in bf16 by the matrix units of the CPU."""
    used = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else dtype
    return used == torch.bfloat16 and MATRIX_UNITS


def convolve_layer(
    layer: Any, features: torch.Tensor, lengths: torch.Tensor | None
) -> torch.Tensor:
    """Convolution, norm and activation of one layer; `lengths` are those of its output."""
    features = layer.conv(features.transpose(1, 2)).transpose(1, 2)
    return layer.activation(normalize(layer, features, lengths))


def multiply_layer(
    layer: Any, features: torch.Tensor, lengths: torch.Tensor | None
) -> torch.Tensor:
    """The same as `convolve_layer`, with the convolution as a matrix product."""
    features = multiply(layer.conv, features)
    return layer.activation(normalize(layer, features, lengths))


def multiply(conv: Any, features: torch.Tensor) -> torch.Tensor:
    """The convolution of features (batch, frames, channels), without padding, as one product.

    Its windows (batch, frames, kernel * channels) are an overlapping view of the features.
    """
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    windows = features.contiguous().unfold(1, kernel, stride).transpose(2, 3).flatten(2)
    return nn.functional.linear(windows, conv.weight.transpose(1, 2).flatten(1), conv.bias)


def normalize(layer: Any, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """The norm of a layer, if it has one. A group norm is over the valid frames of each clip."""
    norm = getattr(layer, "layer_norm", None)
    if norm is None:
        return features
    if not isinstance(norm, nn.GroupNorm):
        return norm(features)
    if lengths is None and not torch.compiler.is_exporting():
        return norm(features.transpose(1, 2)).transpose(1, 2)
    if lengths is not None and is_readable(features):
        return normalize_each(norm, features, lengths)
    if lengths is None:
        lengths = features.new_full((len(features),), features.shape[1])
    return normalize_together(norm, features, lengths)


def normalize_together(
    norm: nn.GroupNorm, features: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """One formula for all clips (batch, frames, channels), one group per channel."""
    frames = features.float()
    valid = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
    count = lengths[:, None, None].to(frames.dtype)
    # These are the largest tensors of the network, so there are as few as possible: moments
    # first, then one multiplication and addition instead of centring and scaling.
    kept = frames * valid[..., None]
    mean = kept.sum(1, keepdim=True) / count
    power = torch.linalg.vector_norm(kept, dim=1, keepdim=True).square() / count
    del kept
    variance = (power - mean.square()).clamp(min=0)
    scale = torch.rsqrt(variance + norm.eps) * norm.weight
    shifted = torch.addcmul(norm.bias - mean * scale, frames, scale)
    return shifted.to(features.dtype)


def normalize_each(
    norm: nn.GroupNorm, features: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """The plain norm over the valid frames of each clip; zeros beyond them.

    On a CPU the fused kernel needs a fifth (bf16) to two thirds of the time of the formula. On a
    GPU reading the lengths would force a synchronisation.
    """
    channels = features.transpose(1, 2)
    each = (
        norm(row[None, :, :length]) for row, length in zip(channels, lengths.tolist(), strict=True)
    )
    frames = channels.shape[-1]
    if torch.is_grad_enabled() and (features.requires_grad or norm.weight.requires_grad):
        padded = [nn.functional.pad(row, (0, frames - row.shape[-1])) for row in each]
        return torch.cat(padded).transpose(1, 2)
    first = next(each)
    result = first.new_zeros(channels.shape)
    for row, place in zip(chain((first,), each), result, strict=True):
        place[:, : row.shape[-1]] = row[0]
    return result.transpose(1, 2)
