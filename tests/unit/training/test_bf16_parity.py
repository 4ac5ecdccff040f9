"""The parity of bf16 that is kept in the best checkpoint."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from ser.models.checkpoint import Checkpoint
from ser.training import parity

GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1" / "full" / "checkpoints" / "best.ckpt"


def test_the_parity_is_added_to_the_checkpoint_and_read_from_it(monkeypatch, tmp_path):
    path = tmp_path / "best.ckpt"
    path.write_bytes(GOLDEN.read_bytes())
    before = Checkpoint.open(path)
    assert before.validation.parity is None
    weights = {name: values.clone() for name, values in before.weights.items()}
    clips = list(torch.randn(7, 12_000).numpy())
    monkeypatch.setattr(parity, "computes_bf16", lambda device: True)
    monkeypatch.setattr(parity, "collect_validation", lambda data: clips)
    parity.store_parity(path, cast(Any, SimpleNamespace()), torch.device("cpu"))
    after = Checkpoint.open(path)
    assert after.validation.parity is not None
    assert after.validation.parity.clips == 7
    assert 0 < after.validation.parity.difference < 0.1
    for name, values in after.weights.items():
        torch.testing.assert_close(values, weights[name], rtol=0, atol=0)


def test_nothing_is_measured_on_a_device_that_emulates_bf16(monkeypatch, tmp_path):
    monkeypatch.setattr(parity, "computes_bf16", lambda device: False)
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"untouched")
    parity.store_parity(path, cast(Any, SimpleNamespace()), torch.device("cpu"))
    assert path.read_bytes() == b"untouched"
