"""WavLM (Chen et al., 2022): wav2vec 2.0 with a gated relative position bias.

`transformers` passes the bare weights of the attention's projections to
`torch.nn.functional.multi_head_attention_forward`, which skips LoRA adapters around them. Here
the projections are called as modules, and the fused attention kernel does not have to return the
attention weights.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from ser.models.families.wav2vec2 import Wav2Vec2Family


class AdaptableAttention(WavLMAttention):
    """The attention of WavLM, computed by its projections, so that adapters have an effect."""

    def torch_multi_head_self_attention(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        gated_position_bias: torch.Tensor,
    ) -> tuple[torch.Tensor, None]:
        """Attended states (batch, frames, size) of states of the same shape.

        The mask (batch, frames) is true for the frames that are attended to. The bias is
        (batch * heads, frames, frames).
        """
        batch, frames, _ = hidden_states.shape
        query, key, value = (
            projection(hidden_states).view(batch, frames, self.num_heads, -1).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias = gated_position_bias.view(batch, self.num_heads, frames, frames).to(query.dtype)
        if attention_mask is not None:
            bias = bias.masked_fill(~attention_mask.bool()[:, None, None], float("-inf"))
        dropout = self.dropout if self.training else 0.0
        attended = scaled_dot_product_attention(query, key, value, bias, dropout)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None


class WavLMFamily(Wav2Vec2Family):
    """WavLM: the position bias, computed by the first layer, is shared by all layers."""

    model_types = ("wavlm",)

    def prepare(self, network: Any) -> None:
        layer: Any
        for layer in self.layers(network):
            layer.attention.__class__ = AdaptableAttention

    def layer_arguments(
        self, network: Any, hidden: torch.Tensor, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        batch, frames, _ = hidden.shape
        first: Any = self.layers(network)[0].attention
        bias = first.compute_bias(frames, frames)  # (heads, frames, frames)
        return {"attention_mask": attended, "position_bias": bias.repeat(batch, 1, 1)}
