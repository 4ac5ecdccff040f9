"""The benchmarks run; what they measure is not judged here."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch) -> Any:
    monkeypatch.delenv("SER_REAL_AUDIO", raising=False)
    spec = importlib.util.spec_from_file_location("bench", ROOT / "benchmarks" / "training.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_contender_trains_and_is_scored(benchmark, tmp_path):
    scores = benchmark.race(tmp_path, benchmark.Scale(8, 4, 1, 1.0))
    assert set(scores) == {"notebook", "trainer_default", "full"}
    assert all(0 <= score <= 1 for score in scores.values())


def test_a_goal_is_judged_by_its_ratio(benchmark):
    seconds = {"notebook": 40, "trainer_default": 22, "trainer_bf16": 14, "full": 10}
    seconds |= {"top_layers": 2, "head": 0.5}
    speed = {name: benchmark.Measurement(value, 3.0) for name, value in seconds.items()}
    rows = benchmark.goals(speed, {"notebook": 0.3, "trainer_default": 0.4, "full": 0.4})
    assert [reached for *_, reached in rows] == [True, False, True, True, True, True, True]
