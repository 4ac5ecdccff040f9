"""Whisper base on this machine, against transformers on the same weights and clips.

    python benchmarks/whisper.py             # a quarter of an hour on two cores
    python benchmarks/whisper.py --short     # some minutes; the numbers are rough

Clips of 2 to 5 s are those of SER_REAL_AUDIO, else synthetic. Weights are those that
SER_REAL_BACKBONE names, else random ones of the same size. transformers pads every clip to 30 s.
Contenders take turns; training runs in processes of its own. Only the ratios are comparable.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference import choose_clips, describe, take_turns
from machine import peak_kib
from rich.console import Console
from rich.table import Table
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    pipeline,
)

from ser import Predictor
from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig, Pooling, Standardize
from ser.config.precision import Precision
from ser.corpora.emotions import LABELS
from ser.inference.load import TrainedModel, load_trained
from ser.models.build import build_network
from ser.models.families.whisper import log_mel
from ser.models.inputs import pad
from ser.models.precision import computes_bf16

BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
LAYER = 3  # of `experiment=laptop`
BATCH, STEPS = 4, 3  # of training; the first step is for warming up


@dataclass(frozen=True)
class Ratio:
    """How many times as fast (or as small) as transformers, and the goal."""

    what: str
    value: float
    goal: float


def write_model(folder: Path) -> None:
    """A folder that transformers.pipeline and Predictor load, with a new head."""
    settings: Any = {"num_labels": len(LABELS), "id2label": dict(enumerate(LABELS))}
    if real := os.environ.get("SER_REAL_BACKBONE"):
        network = WhisperForAudioClassification.from_pretrained(
            real, **settings, dtype=torch.float32
        )
    else:
        network = WhisperForAudioClassification(WhisperConfig(**BASE, **settings))
    network.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)


def end_early(folder: Path) -> TrainedModel:
    """The network of `experiment=laptop`: some layers, statistics pooling, a linear head."""
    model = ModelConfig(
        backbone=BackboneConfig(str(folder)),
        layer=LAYER,
        projector=False,
        pooling=Pooling.statistics,
        standardize=Standardize.train,
    )
    network = build_network(model, LABELS).eval()
    return TrainedModel("laptop", network, False, LABELS, 1.0, 8.0)


def fast_precision() -> Precision:
    """What `auto` chooses for a trained model; the parity of an untrained head says nothing."""
    return Precision.bf16 if computes_bf16(torch.device("cpu")) else Precision.fp32


def measure_inference(folder: Path, clips: list[Waveform], rounds: int) -> list[Ratio]:
    """One clip at a time, and many."""
    reference = pipeline("audio-classification", model=str(folder), device="cpu", top_k=None)
    full, automatic = (
        Predictor(load_trained(folder), "cpu", precision=precision)
        for precision in (Precision.fp32, fast_precision())
    )
    laptop = Predictor(end_early(folder), "cpu", precision=fast_precision())
    rows: Any = [{"raw": clip, "sampling_rate": SAMPLE_RATE} for clip in clips]
    pairs = [(clip, SAMPLE_RATE) for clip in clips]
    few = slice(0, max(2, len(clips) // 4))

    def one_by_one(predictor: Predictor) -> None:
        for clip in clips[few]:
            predictor.probabilities([clip])

    base, fp32, auto, short = take_turns(
        [
            lambda: [reference(row) for row in rows[few]],
            lambda: one_by_one(full),
            lambda: one_by_one(automatic),
            lambda: one_by_one(laptop),
        ],
        rounds,
    )
    many, many_fp32, many_auto = take_turns(
        [
            lambda: reference(rows, batch_size=8),
            lambda: full(pairs, batch_size=8),
            lambda: automatic(pairs, batch_size=8),
        ],
        1 if rounds < 3 else 2,
    )
    return [
        Ratio("batch of one, fp32", base / fp32, 10),
        Ratio("batch of one, auto", base / auto, 18),
        Ratio("batch of one, experiment=laptop, auto", base / short, 25),
        Ratio("many clips, fp32", many / many_fp32, 12),
        Ratio("many clips, auto", many / many_auto, 20),
    ]


def measure_spectrogram(clips: list[Waveform], rounds: int) -> Ratio:
    """The log-mel spectrogram of a padded batch inside the network."""
    extractor, batch = WhisperFeatureExtractor(), clips[:8]
    waveforms, mask = pad(batch)
    theirs, ours = take_turns(
        [
            lambda: extractor(batch, sampling_rate=SAMPLE_RATE, return_tensors="pt"),
            lambda: log_mel(waveforms, mask.sum(1), 80),
        ],
        3 * rounds,
    )
    return Ratio("log-mel spectrogram", theirs / ours, 2)


def measure_training(folder: Path, clips: list[Waveform], half: bool) -> list[Ratio]:
    """All layers, the same clips and batch size, each contender in a process of its own."""
    np.savez(folder / "clips.npz", *clips[: BATCH * STEPS])
    results = {}
    for name in ("theirs", "ours"):
        arguments = ["--contender", name, str(folder), *(["--bf16"] if half else [])]
        done = subprocess.run(
            [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
        )
        results[name] = json.loads(done.stdout.splitlines()[-1])
    precision = "bf16" if half else "fp32"
    theirs, ours = results["theirs"], results["ours"]
    return [
        Ratio(f"training all layers, {precision}", theirs["seconds"] / ours["seconds"], 8),
        Ratio(f"memory of training, {precision}", theirs["gib"] / ours["gib"], 3),
    ]


class Watch(TrainerCallback):
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def train_theirs(folder: Path, clips: list[Waveform], half: bool) -> list[float]:
    """Seconds of each step of the Hugging Face Trainer, which gets spectrograms of 30 s."""
    extractor, watch = WhisperFeatureExtractor(), Watch()
    features = [
        extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="np").input_features[0]
        for clip in clips
    ]
    data: Any = [
        {"input_features": each, "labels": row % len(LABELS)} for row, each in enumerate(features)
    ]
    settings = TrainingArguments(
        output_dir=str(folder / "unused"),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        bf16=half,
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
    )
    network = WhisperForAudioClassification.from_pretrained(folder)
    Trainer(network, settings, train_dataset=data, callbacks=[watch]).train()
    return watch.seconds


def train_ours(folder: Path, clips: list[Waveform], half: bool) -> list[float]:
    """Seconds of each step, log-mel spectrograms included, with the same optimiser."""
    network = build_network(ModelConfig(backbone=BackboneConfig(str(folder))), LABELS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-5, fused=True)
    seconds = []
    for step in range(STEPS):
        began = time.perf_counter()
        values, mask = pad(clips[step * BATCH : (step + 1) * BATCH])
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(values, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(BATCH))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def contend(name: str, folder: Path, half: bool) -> None:
    """Train as one contender, and print its seconds per step and peak memory as JSON."""
    stored = np.load(folder / "clips.npz")
    clips = [stored[key] for key in stored.files]
    before = peak_kib()
    train = {"ours": train_ours, "theirs": train_theirs}[name]
    seconds = train(folder, clips, half)[1:]
    used = peak_kib() - before  # without the libraries
    print(json.dumps({"seconds": min(seconds), "gib": used / 2**20}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer clips and rounds")
    parser.add_argument("--bf16", action="store_true", help="train in bf16")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        contend(arguments.contender[0], Path(arguments.contender[1]), arguments.bf16)
        return
    count, rounds = (8, 1) if arguments.short else (32, 3)
    lengths = 2 * SAMPLE_RATE, 5 * SAMPLE_RATE
    found = [clip for clip in choose_clips(4 * count) if lengths[0] <= len(clip) <= lengths[1]]
    clips = (found * count)[: max(count, BATCH * STEPS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder)
        ratios = [
            *measure_inference(folder, clips[:count], rounds),
            measure_spectrogram(clips, rounds),
            *measure_training(folder, clips, arguments.bf16),
        ]
    table = Table("what", "times transformers", "goal", title=describe(clips))
    for ratio in ratios:
        table.add_row(ratio.what, f"{ratio.value:.1f}", f"{ratio.goal:g}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
