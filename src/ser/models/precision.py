"""Networks in half precision: which devices compute in it, and when the results are the same."""

import copy
from dataclasses import dataclass
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
            f"on {self.clips} clips bf16 changes a probability by at most {self.difference:.4f}"
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


def cast_network(network: nn.Module, precision: Precision) -> Any:
    """A copy for inference whose backbones, several in an ensemble, have half-precision weights.

    The head stays in fp32. Norms and softmax accumulate in fp32 inside their kernels. Casting once
    is faster than autocast, which casts all weights at each call in inference mode.
    """
    copied = copy.deepcopy(network)
    for name, module in list(copied.named_modules()):
        if isinstance(module, nn.Conv1d) and parametrize.is_parametrized(module):
            copied.set_submodule(name, plain_convolution(module))
    for part in copied.modules():
        if isinstance(part, EmotionNetwork):
            for name, values in [*part.named_parameters(), *part.named_buffers()]:
                if values.is_floating_point() and not part.is_head(name):
                    values.data = values.data.to(DTYPES[precision])
    return copied


def plain_convolution(conv: nn.Conv1d) -> nn.Conv1d:
    """A convolution with its weight norm (that of the positions) computed once, in fp32.

    `remove_parametrizations` would change the class, which a deep copy shares with its original.
    """
    bias = conv.bias is not None
    shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    plain = nn.Conv1d(*shape, conv.dilation, conv.groups, bias, device="meta")  # pyright: ignore
    plain.weight = nn.Parameter(conv.weight.detach().clone())
    plain.bias = conv.bias
    return plain
