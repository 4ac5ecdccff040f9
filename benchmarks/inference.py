"""Prediction on a CPU, compared with transformers.pipeline on the same clips.

`make bench-inference`, or `python benchmarks/inference.py [--clips N] [--rounds N] [--sizes ...]`.
Weights are random, which costs the same time. Every ratio is of medians of rounds in which all
contenders take their turn, in one process. Rows that the processor cannot measure say so.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from ser.audio.decode import load
from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.config.precision import Precision
from ser.corpora.emotions import LABELS
from ser.export.onnx_export import OnnxNetwork, OnnxRunner, build_graphs
from ser.inference.load import load_trained
from ser.inference.parity import synthesise
from ser.inference.sources import find_all
from ser.models.precision import computes_bf16
from ser.training.provenance import processor

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
XLSR = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
SIZES: dict[str, dict[str, Any]] = {"base": {}, "xlsr53": XLSR, "tiny": TINY}
CPU = torch.device("cpu")
IMPORTS = "import torch; from transformers import Wav2Vec2ForSequenceClassification"
NO_BF16 = "not measured: this processor does not compute in bf16"


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times as fast as transformers, and the goal."""

    what: str
    ratio: float | None
    goal: str = ""
    reason: str = ""

    def cells(self) -> tuple[str, str, str]:
        return self.what, self.reason if self.ratio is None else f"{self.ratio:.2f}", self.goal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base", "xlsr53"])
    parser.add_argument("--no-onnx", action="store_true", help="leave out the rows of ONNX")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    clips = choose_clips(arguments.clips)
    table = Table("what", "times as fast", "goal", title=describe(clips))
    with tempfile.TemporaryDirectory() as temporary:
        for size in arguments.sizes:
            model = write_model(Path(temporary, size), **SIZES[size])
            for row in measure(model, size, clips, arguments.rounds, onnx=not arguments.no_onnx):
                table.add_row(*row.cells())
        tiny = write_model(Path(temporary, "start-up"), **TINY)
        table.add_row(*start_up(tiny, arguments.rounds).cells())
    Console(width=110).print(table)


def write_model(folder: Path, **settings: Any) -> Path:
    """A Hugging Face folder of base size, or of other settings, with random weights."""
    names = dict(enumerate(LABELS))
    config = Wav2Vec2Config(id2label=names, num_labels=len(LABELS), **settings)  # pyright: ignore
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE).save_pretrained(folder)
    return folder


def choose_clips(count: int) -> list[Waveform]:
    """Real clips below SER_REAL_AUDIO, evenly from all of it, or synthetic ones."""
    if real := os.environ.get("SER_REAL_AUDIO"):
        paths = [Path(str(path)) for path in find_all([real])]
        return [load(path) for path in islice(paths, 0, None, max(1, len(paths) // count))][:count]
    return [clip for clip in synthesise() if len(clip) > SAMPLE_RATE][:count]


def measure(
    folder: Path, size: str, clips: list[Waveform], rounds: int, *, onnx: bool
) -> list[Row]:
    """The rows of one network: batches of one, ONNX, and many clips of mixed length."""
    model: Any = load_trained(folder)
    classify = pipeline("audio-classification", model=str(folder), device="cpu", top_k=None)
    few = clips[:8]
    tasks: dict[str, Callable[[], object]] = {
        "pipeline 1": lambda: run_pipeline(classify, few),
        "fp32 1": one_by_one(Predictor(model, "cpu").probabilities, few),
        "pipeline 8": lambda: run_pipeline(classify, clips, batch_size=8),
        "pipeline many": lambda: run_pipeline(classify, clips),
        "fp32 many": many(Predictor(model, "cpu"), clips),
    }
    if computes_bf16(CPU):
        reduced = Predictor(model, "cpu", precision=Precision.bf16)
        tasks["bf16 1"] = one_by_one(reduced.probabilities, few)
        tasks["bf16 many"] = many(reduced, clips)
    seconds = dict(zip(tasks, take_turns(list(tasks.values()), rounds), strict=True))
    if onnx:
        paths = folder / "model.onnx", folder / "model_quantized.onnx"
        build_graphs(OnnxNetwork(model, 1.0).eval(), *paths)
        # After the others: threads of ONNX Runtime wait actively and would slow them down.
        for name, path in zip(("onnx", "int8"), paths, strict=True):
            [seconds[name]] = take_turns([one_by_one(OnnxRunner(path), few)], rounds)
    return list_rows(size, seconds)


def run_pipeline(classify: Any, clips: list[Waveform], **options: Any) -> list[Any]:
    return classify([{"raw": clip, "sampling_rate": SAMPLE_RATE} for clip in clips], **options)


def one_by_one(run: Callable[[list[Waveform]], object], clips: list[Waveform]) -> Any:
    return lambda: [run([clip]) for clip in clips]


def many(predictor: Predictor, clips: list[Waveform]) -> Any:
    pairs = [(clip, SAMPLE_RATE) for clip in clips]
    return lambda: predictor(pairs, batch_size=8)


def list_rows(size: str, seconds: dict[str, float]) -> list[Row]:
    """Ratios of the seconds of each task, with the goals for this processor."""
    amx = torch.cpu._is_amx_tile_supported()
    fp32, auto = {"base": ("1.0", "3" if amx else "2")}.get(size, ("1.3", "4.5" if amx else "2.3"))
    batch = "4" if amx else "2.5"

    def row(what: str, peer: str, ours: str, goal: str) -> Row:
        ratio = seconds[peer] / seconds[ours] if ours in seconds else None
        reason = NO_BF16 if ours.startswith("bf16") else "not measured"
        return Row(f"{size}: {what}", ratio, goal, reason)

    return [
        row("batch of one, fp32", "pipeline 1", "fp32 1", fp32),
        row("batch of one, bf16", "pipeline 1", "bf16 1", auto),
        row("batch of one, ONNX", "pipeline 1", "onnx", "1.2"),
        row("batch of one, ONNX int8", "pipeline 1", "int8", "2.5"),
        row("many clips, fp32, pipeline batch_size=8", "pipeline 8", "fp32 many", ""),
        row("many clips, fp32, pipeline batch_size=1", "pipeline many", "fp32 many", ""),
        row("many clips, bf16, pipeline batch_size=8", "pipeline 8", "bf16 many", batch),
        row("many clips, bf16, pipeline batch_size=1", "pipeline many", "bf16 many", batch),
    ]


def start_up(tiny: Path, rounds: int) -> Row:
    """The time of `ser predict` for one clip with a tiny model, relative to the imports alone."""
    import soundfile

    ser = Path(sys.executable).with_name("ser")
    clip = tiny / "clip.wav"
    soundfile.write(clip, synthesise()[2], SAMPLE_RATE)
    command = [str(ser), "predict", str(clip), "--ckpt", str(tiny), "--device", "cpu"]
    imports, whole = take_turns(
        [lambda: run([sys.executable, "-c", IMPORTS]), lambda: run(command)], rounds
    )
    return Row(
        "start-up of ser predict, relative to imports (lower is better)", whole / imports, "1.5"
    )


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
        f"{processor()} ({describe_units()}), {torch.get_num_threads()} threads,"
        f" Python {platform.python_version()}, {versions};"
        f" {len(clips)} {origin} clips of {min(lengths):.1f} to {max(lengths):.1f} s"
    )


def describe_units() -> str:
    """The widest vector and matrix units of the processor."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return "AVX512-BF16"
    return torch.backends.cpu.get_cpu_capability()


if __name__ == "__main__":
    main()
