"""Training throughput, memory and quality, compared with common alternatives.

    python benchmarks/training.py            # half an hour on two cores
    python benchmarks/training.py --short    # some minutes; the numbers are rough

Clips are those of SER_REAL_AUDIO (a folder with ravdess/ and tess/ in it), or synthetic ones. Every
contender trains the same network of random weights on the same clips with the same number of steps,
in a process of its own. Only ratios are comparable, and they are of one run on one machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from machine import describe_machine, find_peak
from rich.console import Console
from rich.table import Table

from ser.config.compose import compose_command
from ser.config.train import TrainConfig
from ser.preparation.manifest import Manifest
from ser.preparation.prepare import prepare
from ser.system.atomic import write_text

HERE = Path(__file__).parent
LARGE = ["backbone=xlsr53", "model.backbone.pretrained=false", "data.batch_size=32"]
FULL = ["backbone=wav2vec2_base", "model.backbone.pretrained=false"]
TINY = ["backbone=tiny", "model.freeze_feature_encoder=false", "model.lr=1e-3", "trainer=cpu"]
OURS = {
    "full": [],
    "top_layers": ["model.top_layers=3", "model.backbone.mask_time_prob=0"],
    "head": ["model=head"],
}
TWO_EPOCHS = ["trainer.max_epochs=2", "trainer.limit_val_batches=0"]
TITLES = {
    "notebook": "notebook: librosa each epoch, 5 s, fp32, nothing frozen",
    "trainer_default": "Hugging Face Trainer, its example, fp32",
    "trainer_bf16": "Hugging Face Trainer, its example, bf16",
    "full": "ser",
    "top_layers": "ser model.top_layers=3, from stored hidden states",
    "head": "ser model=head, from stored hidden states",
}


@dataclass(frozen=True)
class Scale:
    """Clips per epoch and per batch, and rounds; seconds and seeds of the race for quality."""

    clips: int
    batch_size: int
    rounds: int
    seconds: float
    seeds: int


# A batch size of 8 is the default of the Hugging Face Trainer.
SHORT, LONG = Scale(8, 4, 1, 10, 1), Scale(96, 8, 2, 40, 5)


@dataclass(frozen=True)
class Measurement:
    """The median over the rounds: seconds of the second epoch, peak memory in GiB.

    For `ser` also the operations of an epoch, and the share of time spent waiting for data.
    """

    seconds: float
    peak: float
    operations: float
    waited: float


@dataclass(frozen=True)
class Utilisation:
    """Operations per second that training reached, and the peak of the device.

    `peak` is that of the data sheet or, if unknown, of a large bf16 matrix product.
    """

    network: str
    reached: float
    peak: float
    waited: float

    @property
    def share(self) -> float:
        return self.reached / self.peak


def corpora(folder: Path) -> list[str]:
    """The settings for the clips: real ones if SER_REAL_AUDIO names them, else synthetic ones."""
    real = os.environ.get("SER_REAL_AUDIO")
    common = [f"data.cache_dir={folder / 'cache'}", f"output_dir={folder}"]
    common += ["callbacks=quiet", "~callbacks.learning_rate", "~callbacks.early_stopping"]
    common += ["~callbacks.checkpoint", "~callbacks.last_checkpoint", "~logger.tensorboard"]
    if real is None:
        return [*common, "data=synthetic", f"data.synthetic={folder / 'synthetic'}"]
    paths = [f"data.paths.{name}={Path(real) / name}" for name in ("ravdess", "tess")]
    return [*common, "data.corpora=[ravdess,tess]", *paths]


def run(name: str, folder: Path, overrides: list[str], seconds: float | None = None) -> Any:
    """Run one contender in a process of its own, and return what it measured."""
    task = {"overrides": overrides, "seconds": seconds}
    write_text(folder / "task.json", json.dumps(task))
    command = [sys.executable, str(HERE / "contenders.py"), name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads((folder / f"{name}.json").read_text())


def measure_speed(folder: Path, scale: Scale) -> dict[str, Measurement]:
    """Two epochs by each contender, in turns."""
    settings = [*corpora(folder), *FULL, f"data.batch_size={scale.batch_size}", *TWO_EPOCHS]
    choose_clips(folder, settings, scale.clips)
    results: dict[str, list[Any]] = {name: [] for name in TITLES}
    for _ in range(scale.rounds):
        for name in TITLES:
            result = run(name, folder, [*settings, *OURS.get(name, [])])
            results[name].append(result)
            Console().print(f"{name}: {result['epochs'][-1]:.1f} s, {result['peak']:.2f} GiB")
    return {name: summarise(rounds) for name, rounds in results.items()}


def choose_clips(folder: Path, settings: list[str], count: int) -> None:
    """Write a manifest with `count` training clips and a few validation clips."""
    config = compose_command("train", settings, TrainConfig)
    table = prepare(config.data, config.split).utterances
    train = table[table["split"] == "train"]
    chosen = train.sample(min(count, len(train)), random_state=0)
    held_out = table[table["split"] == "val"].head(8)
    kept = table.loc[[*chosen.index, *held_out.index]].sort_values("id", ignore_index=True)
    Manifest(kept, table.iloc[:0]).write(folder)


def summarise(rounds: list[Any]) -> Measurement:
    return Measurement(
        seconds=median(result["epochs"][-1] for result in rounds),
        peak=median(result["peak"] for result in rounds),
        operations=rounds[0]["operations"],
        waited=median(result["waited"] for result in rounds),
    )


def measure_utilisation(folder: Path) -> Utilisation | None:
    """How well xlsr-53 in bf16 uses the GPU; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    settings = [*corpora(folder), *LARGE, *TWO_EPOCHS]
    choose_clips(folder, settings, 10_000)
    found = summarise([run("full", folder, settings)])
    return Utilisation("xlsr53", found.operations / found.seconds, find_peak("cuda"), found.waited)


def race(folder: Path, scale: Scale) -> dict[str, list[float]]:
    """UAR of a small network on unseen clips, after the same seconds of training, by contender.

    Each list has one UAR per seed.
    """
    settings = [*corpora(folder), *TINY, "model.schedule=constant", "model.warmup_ratio=0"]
    settings += ["trainer.max_epochs=10000", "trainer.limit_val_batches=0", "data.batch_size=8"]
    config = compose_command("train", settings, TrainConfig)
    prepare(config.data, config.split).write(folder)
    quality: dict[str, list[float]] = {"notebook": [], "trainer_default": [], "full": []}
    for seed in range(scale.seeds):
        for name, scores in quality.items():
            scores.append(run(name, folder, [*settings, f"seed={seed}"], scale.seconds)["uar"])
            Console().print(f"{name}, seed {seed}: UAR {scores[-1]:.3f}")
    return quality


def goals(
    speed: dict[str, Measurement],
    quality: dict[str, list[float]],
    gpu: Utilisation | None = None,
) -> list[tuple[str, str, bool]]:
    """Each goal, what was measured, and whether the goal is reached."""
    ours = speed["full"]
    wanted = [
        ("faster than the notebook", speed["notebook"].seconds / ours.seconds, 4.0),
        ("faster than the Trainer", speed["trainer_default"].seconds / ours.seconds, 2.3),
        ("faster than the Trainer in bf16", speed["trainer_bf16"].seconds / ours.seconds, 1.3),
        ("top_layers=3 faster than full", ours.seconds / speed["top_layers"].seconds, 5.0),
        ("head faster than full", ours.seconds / speed["head"].seconds, 20.0),
    ]
    rows = [(what, f"{ratio:.1f}x (goal {goal}x)", ratio >= goal) for what, ratio, goal in wanted]
    least = min(speed[name].peak for name in ("notebook", "trainer_default", "trainer_bf16"))
    memory = f"{ours.peak:.2f} GiB, theirs {least:.2f} GiB"
    rows.append(("memory not above theirs", memory, ours.peak <= least))
    means = {name: mean(scores) for name, scores in quality.items()}
    best = max(means["notebook"], means["trainer_default"])
    scores = f"{means['full']:.3f}, theirs {best:.3f}"
    rows.append(("UAR after the same seconds not below theirs", scores, means["full"] >= best))
    if gpu is not None:
        used = f"{gpu.share:.0%} of {gpu.peak / 1e12:.0f} TFLOP/s (goal 40%)"
        rows.append((f"{gpu.network}: use of the GPU", used, gpu.share >= 0.4))
        waited = f"{gpu.waited:.1%} of the time (goal 2%)"
        rows.append((f"{gpu.network}: waiting for data", waited, gpu.waited < 0.02))
    return rows


def show(speed: dict[str, Measurement], rows: list[tuple[str, str, bool]], scale: Scale) -> None:
    table = Table("", "s per epoch", "clips/s", "peak GiB", title="Training, wav2vec2-base size")
    for name, one in speed.items():
        rate = f"{scale.clips / one.seconds:.2f}"
        table.add_row(TITLES[name], f"{one.seconds:.2f}", rate, f"{one.peak:.2f}")
    verdict = Table("goal", "measured", "reached")
    for what, measured, reached in rows:
        verdict.add_row(what, measured, "yes" if reached else "no")
    Console().print(table, verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="some minutes; rough numbers")
    parser.add_argument("--output", type=Path, default=HERE / "training.json")
    arguments = parser.parse_args()
    scale = SHORT if arguments.short else LONG
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speed, quality = measure_speed(folder, scale), race(folder, scale)
        gpu = measure_utilisation(folder)
    rows = goals(speed, quality, gpu)
    show(speed, rows, scale)
    result = {
        "machine": describe_machine(),
        "scale": asdict(scale),
        "speed": {title: asdict(one) for title, one in speed.items()},
        "uar": quality,
        "gpu": gpu and asdict(gpu),
        "goals": [{"goal": goal, "measured": m, "reached": ok} for goal, m, ok in rows],
    }
    write_text(arguments.output, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
