"""What a run records about its machine."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer

from ser.reports.context import kilowatt_hours
from ser.training import provenance


def test_a_record_is_read_back(tmp_path):
    observed = provenance.observe(provenance.begin())
    assert observed.cores >= 1
    assert observed.devices == []
    assert observed.joules is None
    assert {"torch", "lightning", "transformers"} <= set(observed.versions)
    provenance.write(observed, tmp_path)
    assert provenance.read(tmp_path) == observed


def test_an_older_record_has_no_energy(tmp_path):
    provenance.write(provenance.observe(provenance.begin()), tmp_path)
    plain = json.loads((tmp_path / provenance.FILE).read_text())
    del plain["joules"]
    (tmp_path / provenance.FILE).write_text(json.dumps(plain))
    found = provenance.read(tmp_path)
    assert found is not None
    assert found.joules is None
    assert provenance.read(tmp_path / "elsewhere") is None


@pytest.fixture
def counters(monkeypatch) -> dict[str, float]:
    """Two GPUs that count their energy, in millijoules, as NVML does."""
    counted = {"GPU-a": 5_000.0, "GPU-b": 1_000.0}
    library = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=counted.__getitem__,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    properties = [SimpleNamespace(uuid="a"), SimpleNamespace(uuid="b")]
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)
    return counted


def test_energy_is_the_difference_of_the_counters(counters):
    beginning = provenance.begin([0, 1])
    counters["GPU-a"] += 7.2e6 * 1000
    observed = provenance.observe(beginning)
    assert observed.joules == pytest.approx(7.2e6)
    assert observed.devices == ["card 0", "card 1"]
    assert kilowatt_hours(observed).startswith("2 kWh")


def test_a_gpu_that_does_not_count_leaves_the_energy_unknown(counters, monkeypatch):
    beginning = provenance.begin([0, 1])
    del counters["GPU-b"]
    monkeypatch.setattr(sys.modules["pynvml"], "NVMLError", KeyError)
    assert provenance.observe(beginning).joules is None


def test_only_the_gpus_that_were_used_are_counted(counters):
    beginning = provenance.begin([1])
    counters["GPU-a"] += 1e9  # another job's
    counters["GPU-b"] += 5_000
    observed = provenance.observe(beginning)
    assert observed.joules == pytest.approx(5)
    assert observed.devices == ["card 1"]


def test_the_parts_of_a_resumed_run_are_added_up(counters):
    before = replace(provenance.observe(provenance.begin([0])), seconds=60.0, joules=7.0)
    beginning = provenance.begin([0])
    counters["GPU-a"] += 5_000
    observed = provenance.observe(beginning, before)
    assert observed.seconds >= 60
    assert observed.joules == pytest.approx(12)


def test_the_commit_of_a_clone_is_recorded():
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        pytest.skip("not a clone")
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    found = provenance.commit()
    assert found is not None
    assert head.startswith(found.removesuffix("+"))


def test_a_run_that_is_killed_after_a_validation_has_a_provenance(tmp_path):
    before = replace(provenance.observe(provenance.begin()), seconds=100.0)
    log = provenance.ProvenanceLog(provenance.begin(), before, tmp_path)
    log.on_validation_end(Trainer(logger=False, accelerator="cpu"), None)
    found = provenance.read(tmp_path)
    assert found is not None
    assert 100 <= found.seconds < 110
    assert found.processor == before.processor
