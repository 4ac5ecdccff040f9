"""The convolutional feature encoder of the wav2vec 2.0 family, with padding ignored.

Features are (batch, frames, channels). A convolution is also a matrix product over a strided view
of them, which CPUs compute faster, because no norm needs a transposed copy.

The first layer of wav2vec2-base normalises each channel over time. In `transformers` that includes
padding, so a prediction depends on the longest clip of its batch. Here every norm sees the valid
frames of its own clip only.
"""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ser.models.families.base import is_readable


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
    run: Any = multiply_layer if prefers_products(waveforms.device) else convolve_layer
    layer: Any = layers[0]
    features = waveforms[..., None].to(layer.conv.weight.dtype)
    for layer in layers:
        if lengths is not None:
            lengths = (lengths - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
        if recompute and torch.is_grad_enabled():
            features = checkpoint(run, layer, features, lengths, use_reentrant=False)
        else:
            features = run(layer, features, lengths)
    return features


def prefers_products(device: torch.device) -> bool:
    """Whether matrix products are faster than convolutions, by measurement (see `benchmarks/`).

    On CPUs they are, if no gradients are needed; GPUs have not been measured. Exports use products
    everywhere, because quantisation of ONNX models covers matrix products only.
    """
    if torch.compiler.is_exporting():
        return True
    return device.type == "cpu" and not torch.is_grad_enabled()


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
    if is_readable(features):
        return normalize_each(norm, features, lengths)
    if lengths is None and not torch.compiler.is_exporting():
        return norm(features.transpose(1, 2)).transpose(1, 2)
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
    norm: nn.GroupNorm, features: torch.Tensor, lengths: torch.Tensor | None
) -> torch.Tensor:
    """The norm over the valid frames of each clip, one after another; zeros beyond them.

    Each channel is a group, so this is a batch norm over the frames of one clip, which takes
    channels last. On a CPU it is several times as fast as a group norm, which copies them into
    another order, and as the formula. On a GPU reading the lengths would force a synchronisation.
    """
    result = torch.empty_like(features, memory_format=torch.contiguous_format)
    counts = [features.shape[1]] * len(features) if lengths is None else lengths.tolist()
    for row, count in enumerate(counts):
        result[row, :count] = nn.functional.batch_norm(
            features[row, :count], None, None, norm.weight, norm.bias, training=True, eps=norm.eps
        )
        result[row, count:] = 0
    return result
