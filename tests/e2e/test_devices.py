"""Several processes on the CPU (gloo) stand in for several GPUs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ser.models.checkpoint import Checkpoint
from ser.training.train import train

ROOT = Path(__file__).parents[2]
DROPOUTS = ("hidden", "attention", "activation", "feat_proj", "final")
RECIPE = [  # without dropout, which differs from device to device on purpose
    "monitor=val/macro_f1",  # depends on every utterance, even in a short run
    *("trainer.limit_train_batches=5", "data.max_batch_seconds=null", "trainer.max_epochs=2"),
    *(f"+model.backbone.architecture.{part}_dropout=0.0" for part in DROPOUTS),
]


@pytest.fixture
def alone(quick_config, tmp_path):
    train(quick_config(tmp_path / "alone", *RECIPE, "data.batch_size=16"))
    return tmp_path / "alone"


def command(corpora: Path, cache_dir: Path, folder: Path) -> list[str]:
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}", "data.batch_size=8"]
    devices = ["trainer.strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    quick = ["experiment=quickstart", "callbacks=quiet", f"output_dir={folder}"]
    return ["train.py", *quick, *data, *devices, *RECIPE]


def run(*arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_devices_end_with_the_weights_and_metrics_of_one(
    alone, corpora, cache_dir, tmp_path, launcher
):
    folder = tmp_path / "two"
    start = [sys.executable]
    if launcher == "torchrun":
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    output = run(*start, *command(corpora, cache_dir, folder))
    assert output.count("epoch 2: ") == 1
    one, two = (
        Checkpoint.open(path / "checkpoints" / "last.ckpt").weights for path in (alone, folder)
    )
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-4, rtol=1e-3)
    scores = [
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
        for path in (alone, folder)
    ]
    [[best_of_one], [best_of_two]] = [
        [state["best_model_score"] for name, state in state.items() if name.startswith("ModelC")]
        for state in scores
    ]
    assert float(best_of_one) == pytest.approx(float(best_of_two), abs=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "two"}


@pytest.mark.slow
def test_a_sweep_over_devices_is_refused(corpora, cache_dir, tmp_path):
    arguments = command(corpora, cache_dir, tmp_path)
    done = subprocess.run(
        [sys.executable, arguments[0], "-m", *arguments[1:], "seed=1,2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert "trainer.devices=1" in done.stderr
    assert "Traceback" not in done.stderr
