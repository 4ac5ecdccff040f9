"""Networks in half precision, of every family."""

import torch

from ser.config.precision import Precision
from ser.models.precision import cast_network


def test_every_family_computes_in_bf16(make_network, kind, batch):
    network = make_network(kind).eval()
    reduced = cast_network(network, Precision.bf16)
    with torch.inference_mode():
        for mask in (batch["attention_mask"], None):
            expected = network(batch["input_values"], attention_mask=mask).logits
            found = reduced(batch["input_values"], attention_mask=mask).logits
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, atol=0.3, rtol=0.1)
    for name, value in reduced.named_parameters():
        assert value.dtype == (torch.float32 if network.is_head(name) else torch.bfloat16), name
