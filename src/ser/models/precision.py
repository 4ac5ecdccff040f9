"""Networks in half precision: which devices compute in it, and when the results are the same."""

import copy
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ser.config.precision import Precision
from ser.models.network import EmotionNetwork

DTYPES = {Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}
TOLERANCE = 0.005  # largest change of a probability
AGREEMENT = 0.995  # least share of clips with the same top class


@dataclass(frozen=True)
class PrecisionParity:
    """How bf16 compares with fp32 on some clips.

    `difference` is the largest change of a calibrated probability, `agreement` the share of clips
    with the same top class.
    """

    clips: int
    difference: float
    agreement: float

    @property
    def good(self) -> bool:
        """Whether bf16 may replace fp32."""
        return self.difference <= TOLERANCE and self.agreement >= AGREEMENT

    def __str__(self) -> str:
        return (
            f"on {self.clips} clips, the largest change of a probability is {self.difference:.4f}"
            f" (limit {TOLERANCE:g}), and {self.agreement:.1%} keep their top class (limit"
            f" {AGREEMENT:.1%})"
        )


def read_parity(plain: Any) -> PrecisionParity | None:
    """The parity of plain values; None if it was not measured.

    Raises KeyError, TypeError or ValueError for values that no measurement can give.
    """
    if plain is None:
        return None
    parity = PrecisionParity(
        int(plain["clips"]), float(plain["difference"]), float(plain["agreement"])
    )
    if parity.clips < 1 or not (0 <= parity.difference <= 1 and 0 <= parity.agreement <= 1):
        raise ValueError(f"not a parity: {plain}")
    return parity


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 by itself. Others emulate it, slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def copy_for_inference(network: nn.Module, precision: Precision) -> Any:
    """A copy whose backbones, several in an ensemble, have weights of this precision.

    Unchanged weights are shared. The head stays in fp32. Norms and softmax accumulate in fp32
    inside their kernels. Casting once is faster than autocast, which casts all weights at each call
    in inference mode. Weight norms are computed once as well.
    """
    memo: dict[int, Any] = {}  # of deepcopy: what takes the place of each tensor
    for part in network.modules():
        if isinstance(part, EmotionNetwork):
            for name, values in chain(part.named_parameters(), part.named_buffers()):
                memo[id(values)] = values if part.is_head(name) else cast(values, precision)
    copied = copy.deepcopy(network, memo)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d) and parametrize.is_parametrized(module):
            copied.set_submodule(name, plain_convolution(module, precision))
    return copied


def cast(values: torch.Tensor, precision: Precision) -> torch.Tensor:
    """The values in this precision; the same object if they have it, or are no floats."""
    if not values.is_floating_point() or precision not in DTYPES:
        return values
    reduced = values.detach().to(DTYPES[precision])
    return nn.Parameter(reduced) if isinstance(values, nn.Parameter) else reduced


def plain_convolution(conv: nn.Conv1d, precision: Precision) -> nn.Conv1d:
    """A convolution with its weight norm (that of the positions) computed once, in fp32.

    `remove_parametrizations` would change the class, which a copy shares with its original.
    """
    bias = conv.bias is not None
    shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    plain = nn.Conv1d(*shape, conv.dilation, conv.groups, bias, device="meta")  # pyright: ignore
    plain.weight = nn.Parameter(cast(conv.weight.detach(), precision))
    if conv.bias is not None:
        plain.bias = nn.Parameter(cast(conv.bias.detach(), precision))
    return plain
