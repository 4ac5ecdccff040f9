"""Precision: names, half-precision networks, and the choice that `auto` makes."""

import numpy as np
import pytest
import torch

from ser.config.precision import Precision, parse_precision
from ser.errors import UserError
from ser.inference import runner
from ser.inference.runner import TRIAL_CLIPS, NetworkRunner
from ser.models import precision as precisions
from ser.models.precision import PrecisionParity, copy_for_inference

CPU = torch.device("cpu")
GOOD, BAD = PrecisionParity(200, 0.001, 1.0), PrecisionParity(200, 0.02, 0.99)


@pytest.fixture
def network(tiny_predictor):
    return tiny_predictor.network


@pytest.fixture
def fast_bf16(monkeypatch):
    """A device that computes in bf16."""
    monkeypatch.setattr(runner, "computes_bf16", lambda device: True)


def predict(run: NetworkRunner, clips: int, seed: int = 0) -> np.ndarray:
    return run(torch.randn(clips, 8000, generator=torch.Generator().manual_seed(seed)), None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("32", "fp32"), ("32-true", "fp32"), ("bf16-mixed", "bf16"), ("16-mixed", "fp16")],
)
def test_old_names_are_aliases(name, expected):
    assert parse_precision(name, "key") == expected


def test_other_names_are_refused_with_their_key():
    with pytest.raises(UserError, match="some_key=float8"):
        parse_precision("float8", "some_key")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_covers_the_backbone_and_not_the_head(network, precision):
    reduced = copy_for_inference(network, Precision(precision))
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    for name, values in reduced.state_dict().items():
        assert values.dtype == (torch.float32 if network.is_head(name) else half), name
    assert all(values.dtype == torch.float32 for values in network.parameters())
    waveforms, mask = torch.randn(2, 8000), torch.ones(2, 8000, dtype=torch.long)
    mask[1, 5000:] = 0
    with torch.no_grad():
        expected = network(waveforms * mask, mask).logits.softmax(1)
        found = reduced(waveforms * mask, mask).logits.softmax(1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize(("parity", "chosen"), [(GOOD, "bf16"), (BAD, "fp32")])
def test_auto_follows_the_parity_of_the_checkpoint(network, fast_bf16, parity, chosen):
    run = NetworkRunner(network, CPU, Precision.auto, parity)
    assert run.precision == chosen
    assert run.trial is None


def test_auto_is_fp32_on_devices_that_emulate_bf16(network, monkeypatch):
    monkeypatch.setattr(runner, "computes_bf16", lambda device: False)
    run = NetworkRunner(network, CPU, Precision.auto, GOOD)
    assert run.precision == Precision.fp32
    assert run.trial is None


@pytest.mark.parametrize(("tolerance", "chosen"), [(1.0, "bf16"), (0.0, "fp32")])
def test_without_parity_the_first_clips_decide(network, fast_bf16, monkeypatch, tolerance, chosen):
    monkeypatch.setattr(precisions, "TOLERANCE", tolerance)
    monkeypatch.setattr(precisions, "AGREEMENT", 1.0 - tolerance)
    run = NetworkRunner(network, CPU, Precision.auto)
    reference = NetworkRunner(network, CPU, Precision.fp32)
    for seed in range(TRIAL_CLIPS // 4):
        assert run.precision == Precision.fp32
        np.testing.assert_array_equal(predict(run, 4, seed), predict(reference, 4, seed))
    assert run.precision == chosen
    assert run.trial is None
    same = np.array_equal(predict(run, 4, 99), predict(reference, 4, 99))
    assert same == (chosen == "fp32")


def test_results_that_are_not_finite_are_never_accepted(network, fast_bf16, monkeypatch):
    monkeypatch.setattr(precisions, "TOLERANCE", 1.0)
    run = NetworkRunner(network, CPU, Precision.auto)
    assert run.trial is not None
    # A new parameter, because the copy shares its head with the network of other tests.
    run.trial.classifier.bias = torch.nn.Parameter(network.classifier.bias * float("nan"))
    predict(run, 2)
    assert run.precision == Precision.fp32
    assert run.trial is None
