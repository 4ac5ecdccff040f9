"""Inference at wav2vec2-base size on a CPU, against transformers.pipeline on the same clips.

`make bench-inference`, or `python benchmarks/inference.py [clips [rounds]]`. Weights are random,
which costs the same time. Every ratio is of medians of rounds that take turns in one process.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    pipeline,
)

from ser import Predictor
from ser.audio import SAMPLE_RATE, Waveform, load
from ser.labels import LABELS
from ser.onnx_export import OnnxJudge, OnnxNetwork, convert, quantise
from ser.parity import synthesise
from ser.provenance import processor
from ser.sources import find_all
from ser.trained import load_trained

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
IMPORTS = "import torch; from transformers import Wav2Vec2ForSequenceClassification"


def main(count: int = 24, rounds: int = 3) -> None:
    torch.manual_seed(0)
    clips = choose_clips(count)
    with tempfile.TemporaryDirectory() as temporary:
        base = write_model(Path(temporary, "base"))
        table = Table("what", "ratio to transformers", "goal", title=describe(clips))
        for what, ratio, goal in [
            *batch_one(base, clips[:8], rounds),
            *folder(base, clips, rounds),
            start_up(write_model(Path(temporary, "tiny"), **TINY), rounds),
        ]:
            table.add_row(what, f"{ratio:.2f}", goal)
    Console(width=100).print(table)


def write_model(folder: Path, **settings: object) -> Path:
    """A Hugging Face folder of base size, or of other settings, with random weights."""
    names = dict(enumerate(LABELS))
    config = Wav2Vec2Config(id2label=names, num_labels=len(LABELS), **settings)  # pyright: ignore
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE).save_pretrained(folder)
    return folder


def choose_clips(count: int) -> list[Waveform]:
    """Real ones below SER_REAL_AUDIO, evenly from all of it, or synthetic ones."""
    if real := os.environ.get("SER_REAL_AUDIO"):
        paths = [Path(str(path)) for path in find_all([real])]
        return [load(path) for path in islice(paths, 0, None, max(1, len(paths) // count))][:count]
    return [clip for clip in synthesise() if len(clip) > SAMPLE_RATE][:count]


def batch_one(base: Path, clips: list[Waveform], rounds: int) -> list[tuple[str, float, str]]:
    """How many times as fast a clip alone is judged, in torch, ONNX, and ONNX in 8 bits."""
    model = load_trained(base)
    convert(OnnxNetwork(model, 1.0).eval(), base / "model.onnx")
    quantise(base / "model.onnx", base / "model_int8.onnx")
    reference = pipeline("audio-classification", model=str(base), device="cpu", top_k=None)
    predictor = Predictor(model, "cpu")
    whole, small = OnnxJudge(base / "model.onnx"), OnnxJudge(base / "model_int8.onnx")
    seconds = take_turns(
        [
            lambda: [reference({"raw": c, "sampling_rate": SAMPLE_RATE}) for c in clips],
            lambda: [predictor.probabilities([clip]) for clip in clips],
            lambda: [whole([clip]) for clip in clips],
            lambda: [small([clip]) for clip in clips],
        ],
        rounds,
    )
    names = ("batch of one, torch", "batch of one, ONNX", "batch of one, ONNX int8")
    goals = ("1.0", "1.3", "1.8")
    return [
        (name, seconds[0] / other, goal)
        for name, other, goal in zip(names, seconds[1:], goals, strict=True)
    ]


def folder(base: Path, clips: list[Waveform], rounds: int) -> list[tuple[str, float, str]]:
    """How many times as fast many clips are judged, against the pipeline one by one and in 8s."""
    reference = pipeline("audio-classification", model=str(base), device="cpu", top_k=None)
    predictor = Predictor.from_checkpoint(base, "cpu")
    pairs = [(clip, SAMPLE_RATE) for clip in clips]

    def judge(batch_size: int) -> None:
        rows: Any = [{"raw": clip, "sampling_rate": SAMPLE_RATE} for clip in clips]
        reference(rows, batch_size=batch_size)

    alone, eight, ours = take_turns(
        [lambda: judge(1), lambda: judge(8), lambda: predictor(pairs, batch_size=8)], rounds
    )
    return [
        ("many clips, pipeline batch_size=8", eight / ours, "2.0"),
        ("many clips, pipeline batch_size=1", alone / ours, ""),
    ]


def start_up(tiny: Path, rounds: int) -> tuple[str, float, str]:
    """How long `ser predict` takes for one clip with a tiny model, to the imports alone."""
    ser = Path(sys.executable).with_name("ser")
    clip = tiny / "clip.wav"
    write_clip(clip)
    command = [str(ser), "predict", str(clip), "--ckpt", str(tiny), "--device", "cpu"]
    imports, whole = take_turns(
        [lambda: run([sys.executable, "-c", IMPORTS]), lambda: run(command)], rounds
    )
    return "start-up of ser predict (lower is better)", whole / imports, "below 1.5"


def write_clip(path: Path) -> None:
    import soundfile

    soundfile.write(path, synthesise()[2], SAMPLE_RATE)


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def take_turns(tasks: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each task, over rounds in which all take their turn, after a warm-up."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for turn in range(rounds + 1):
        for task, taken in zip(tasks, seconds, strict=True):
            start = time.perf_counter()
            task()
            if turn > 0:
                taken.append(time.perf_counter() - start)
    return [median(taken) for taken in seconds]


def describe(clips: list[Waveform]) -> str:
    lengths = [len(clip) / SAMPLE_RATE for clip in clips]
    names = ("torch", "transformers", "onnxruntime")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    origin = "real" if os.environ.get("SER_REAL_AUDIO") else "synthetic"
    return (
        f"{processor()}, {torch.get_num_threads()} threads, Python {platform.python_version()},"
        f" {versions}; {len(clips)} {origin} clips of {min(lengths):.1f} to {max(lengths):.1f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
