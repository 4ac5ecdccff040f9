"""Training and prediction on a GPU: speed, use of the device, waiting for data, largest batch.

`python benchmarks/gpu.py`. On a machine without a GPU the same code runs in miniature on the CPU,
to show that it works; rows that only a GPU can measure say so.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from inference import SIZES, choose_clips, many, one_by_one, run_pipeline, take_turns, write_model
from machine import describe_machine, find_peak
from rich.console import Console
from rich.table import Table
from training import LARGE, TINY, TWO_EPOCHS, corpora, run
from training import choose_clips as choose_training
from transformers import pipeline

from ser import Predictor
from ser.config.precision import Precision
from ser.inference.load import load_trained

NO_GPU = "not measured: no GPU"
SECONDS = 3  # of each clip of the largest batch


@dataclass(frozen=True)
class Row:
    what: str
    value: str
    goal: str = ""


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as temporary:
        rows = [*predict(Path(temporary, "model"), device), *train(Path(temporary), device)]
    rows.append(Row("largest batch of 3 s clips, xlsr-53, bf16", largest_batch(device)))
    machine = describe_machine()
    title = machine["gpu"] or f"{machine['processor']}, in miniature"
    table = Table("what", "measured", "goal", title=title)
    for row in rows:
        table.add_row(row.what, row.value, row.goal)
    Console(width=110).print(table)


def predict(folder: Path, device: str) -> list[Row]:
    """Prediction compared with transformers.pipeline in bf16 on the same device."""
    gpu = device == "cuda"
    clips = choose_clips(256 if gpu else 4)
    model: Any = load_trained(write_model(folder, **SIZES["xlsr53" if gpu else "tiny"]))
    dtype = torch.bfloat16 if gpu else torch.float32
    classify = pipeline(
        "audio-classification", model=str(folder), device=device, dtype=dtype, top_k=None
    )
    ours = Predictor(model, device, precision=Precision.bf16 if gpu else Precision.fp32)
    alone, one, batches, all_clips = take_turns(
        [
            lambda: run_pipeline(classify, clips[:32]),
            one_by_one(ours.probabilities, clips[:32]),
            lambda: run_pipeline(classify, clips, batch_size=32),
            many(ours, clips),
        ],
        3 if gpu else 1,
    )
    name = "xlsr-53, bf16" if gpu else "tiny, fp32"
    return [
        Row(f"{name}: batch of one, times as fast as pipeline", f"{alone / one:.2f}"),
        Row(f"{name}: many clips, times as fast as pipeline", f"{batches / all_clips:.2f}"),
    ]


def train(folder: Path, device: str) -> list[Row]:
    """Model FLOP utilisation and the share of time spent waiting for data."""
    gpu = device == "cuda"
    settings = [*corpora(folder), *(LARGE if gpu else [*TINY, "data.batch_size=4"]), *TWO_EPOCHS]
    choose_training(folder, settings, 10_000 if gpu else 8)
    found = run("full", folder, settings)
    reached = found["operations"] / found["epochs"][-1]
    share = f"{reached / find_peak(device):.0%}" if gpu else NO_GPU
    waited = f"{found['waited']:.1%}" if gpu else f"{NO_GPU} ({found['waited']:.1%} in miniature)"
    return [
        Row("training: model FLOP utilisation", share, "40%"),
        Row("training: waiting for data", waited, "below 2%"),
    ]


def largest_batch(device: str) -> str:
    """The largest power of two of clips that a training step of xlsr-53 fits, each in a process."""
    if device != "cuda":
        return NO_GPU
    size = 8
    while fits(2 * size):
        size *= 2
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"{size} in {memory:.0f} GiB"


def fits(size: int) -> bool:
    command = [sys.executable, __file__, "--step", str(size)]
    return subprocess.run(command, capture_output=True, env=os.environ).returncode == 0


def step(size: int) -> None:
    """One training step of a batch; fails if the memory is too small."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    settings: dict[str, Any] = {"num_labels": 8, **SIZES["xlsr53"]}
    network: Any = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**settings))
    network.cuda().train()
    network.freeze_feature_encoder()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    waveforms = torch.randn(size, SECONDS * 16_000, device="cuda")
    labels = torch.zeros(size, dtype=torch.long, device="cuda")
    for _ in range(2):  # the states of the optimiser exist after the first step
        with torch.autocast("cuda", torch.bfloat16):
            loss = network(waveforms, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(json.dumps({"peak": torch.cuda.max_memory_allocated()}))


if __name__ == "__main__":
    if "--step" in sys.argv:
        step(int(sys.argv[-1]))
    else:
        main()
