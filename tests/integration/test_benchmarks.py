"""The benchmarks run; what they measure is not judged here."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch) -> Any:
    monkeypatch.delenv("SER_REAL_AUDIO", raising=False)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("training")


@pytest.mark.slow
def test_every_contender_trains_and_is_scored(benchmark, tmp_path):
    scores = benchmark.race(tmp_path, benchmark.Scale(8, 4, 1, 1.0, 1))
    assert set(scores) == {"notebook", "trainer_default", "full"}
    assert all(0 <= score <= 1 for [score] in scores.values())


@pytest.mark.slow
def test_operations_and_waiting_are_measured(benchmark, tmp_path):
    settings = [*benchmark.corpora(tmp_path), *benchmark.TINY, *benchmark.TWO_EPOCHS]
    benchmark.choose_clips(tmp_path, [*settings, "data.batch_size=4"], 8)
    found = benchmark.summarise([benchmark.run("full", tmp_path, settings)])
    assert 1e8 < found.operations < 1e11
    assert 0 < found.waited < 1
    assert found.seconds > 0
    assert found.operations / found.seconds < benchmark.find_peak("cpu", 256)


def test_a_goal_is_compared_with_its_ratio(benchmark):
    seconds = {"notebook": 40, "trainer_default": 22, "trainer_bf16": 14, "full": 10}
    seconds |= {"top_layers": 2, "head": 0.5}
    speed = {name: benchmark.Measurement(value, 3.0, 0, 0) for name, value in seconds.items()}
    quality = {"notebook": [0.3], "trainer_default": [0.3, 0.5], "full": [0.5, 0.3]}
    rows = benchmark.goals(speed, quality)
    assert [reached for *_, reached in rows] == [True, False, True, True, True, True, True]
    gpu = benchmark.Utilisation("xlsr53", reached=450e12, peak=1000e12, waited=0.05)
    assert [row[1:] for row in benchmark.goals(speed, quality, gpu)[-2:]] == [
        ("45% of 1000 TFLOP/s (goal 40%)", True),
        ("5.0% of the time (goal 2%)", False),
    ]
