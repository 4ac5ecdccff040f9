"""Networks in half precision, of every family."""

import pytest
import torch

from ser.config.precision import Precision
from ser.models.precision import PrecisionParity, copy_for_inference, read_parity


def test_every_family_computes_in_bf16(make_network, kind, batch):
    network = make_network(kind).eval()
    reduced = copy_for_inference(network, Precision.bf16)
    with torch.inference_mode():
        for mask in (batch["attention_mask"], None):
            expected = network(batch["input_values"], attention_mask=mask).logits
            found = reduced(batch["input_values"], attention_mask=mask).logits
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, atol=0.3, rtol=0.1)
    for name, value in reduced.named_parameters():
        assert value.dtype == (torch.float32 if network.is_head(name) else torch.bfloat16), name


@pytest.mark.parametrize(
    "changes",
    [
        *({"clips": 0}, {"clips": None}, {"difference": -0.1}, {"difference": float("nan")}),
        *({"agreement": 1.5}, {"agreement": "many"}),
    ],
)
def test_a_parity_that_no_measurement_gives_is_refused(changes):
    known = {"clips": 200, "difference": 0.001, "agreement": 1.0}
    assert read_parity(known) == PrecisionParity(200, 0.001, 1.0)
    with pytest.raises((TypeError, ValueError)):
        read_parity(known | changes)
