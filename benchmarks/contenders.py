"""The ways of training that are compared: one, run in a process of its own, on the same clips.

`python benchmarks/contenders.py NAME FOLDER` reads `manifest.csv` and `task.json` from the folder
and writes `NAME.json` there: seconds of each epoch, peak memory, and for a race against the clock
the UAR on the parts that were not trained on.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from machine import peak_kib, wait_for_device
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

from ser.audio.decode import decode
from ser.audio.recording import SAMPLE_RATE
from ser.audio.resample import resample
from ser.config.compose import compose_command
from ser.config.train import TrainConfig
from ser.metrics.scores import score
from ser.models.build import describe_network
from ser.preparation import manifest
from ser.system.libraries import silence_warnings
from ser.training import train as training
from ser.training.trainer import build_trainer

EXTRACTOR = Wav2Vec2FeatureExtractor(return_attention_mask=True)
EPOCHS = 2  # the first is for warming up


@dataclass(frozen=True)
class Task:
    """What to train: settings as typed, and for a race its seconds; else it is two epochs."""

    overrides: list[str]
    seconds: float | None = None


@dataclass
class Result:
    """Seconds of each epoch, steps in all, peak memory in GiB, and the UAR of a race.

    For `ser` also the floating-point operations of an epoch, and the share of the last epoch spent
    waiting for data.
    """

    epochs: list[float] = field(default_factory=list)
    steps: int = 0
    peak: float = 0.0
    uar: float | None = None
    operations: float = 0.0
    waited: float = 0.0


@dataclass
class Clock:
    """Times epochs, and ends a race `limit` seconds after its first epoch began."""

    limit: float | None
    result: Result
    begun: float = 0.0
    started: float = 0.0

    def start_epoch(self) -> None:
        self.started = time.perf_counter()
        self.begun = self.begun or self.started

    def end_epoch(self) -> None:
        wait_for_device()
        self.result.epochs.append(time.perf_counter() - self.started)

    def step(self) -> bool:
        """Count a step; whether the time is up."""
        self.result.steps += 1
        return self.limit is not None and time.perf_counter() - self.begun > self.limit


@dataclass(frozen=True)
class Problem:
    """What all contenders share: clips by part, labels, network, batch size, learning rate."""

    config: TrainConfig
    table: manifest.Manifest
    task: Task

    @property
    def batch(self) -> int:
        return self.config.data.batch_size

    def rows(self, *parts: str) -> pd.DataFrame:
        return self.table.utterances[self.table.utterances["split"].isin(parts)]

    def labels(self, rows: pd.DataFrame) -> list[int]:
        return rows["emotion"].map(self.config.data.label_space.index).tolist()

    def network(self) -> Any:
        torch.manual_seed(self.config.seed)
        described = describe_network(self.config.model, self.config.data.label_space)
        return Wav2Vec2ForSequenceClassification(described)  # pyright: ignore

    def uar(self, logits: np.ndarray) -> float:
        true = np.array(self.labels(self.rows("val", "test")))
        return score(true, logits.argmax(1), self.config.data.label_space).uar


class Clips(Dataset[dict[str, Any]]):
    """Utterances as dictionaries, read by a function of their path every time."""

    def __init__(self, problem: Problem, rows: pd.DataFrame, read: Callable[[str], Any]) -> None:
        self.paths, self.labels, self.read = rows["path"].tolist(), problem.labels(rows), read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_values": self.read(self.paths[row]), "labels": self.labels[row]}


class Stopwatch(Callback):
    """Reports epochs and steps to the clock; counts operations in the first epoch, a warm-up."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.counter = clock, FlopCounterMode(display=False)
        self.idle, self.since = 0.0, 0.0

    @property
    def counting(self) -> bool:
        return self.clock.limit is None and not self.clock.result.epochs

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.clock.start_epoch()
        self.idle, self.since = 0.0, time.perf_counter()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.idle += time.perf_counter() - self.since
        if self.counting:
            self.counter.__enter__()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.counting:
            self.counter.__exit__(None, None, None)
            self.clock.result.operations += self.counter.get_total_flops()
        trainer.should_stop |= self.clock.step()
        self.since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.clock.end_epoch()
        self.clock.result.waited = self.idle / self.clock.result.epochs[-1]


def train_ours(problem: Problem, clock: Clock) -> float | None:
    """`ser` with the settings of the task."""
    config = problem.config
    trainer: Any = build_trainer(config)
    # None of the others writes checkpoints, which Lightning does unless told otherwise.
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, Checkpoint)]
    trainer.callbacks.append(Stopwatch(clock))
    module, data = training.build(config, problem.table)
    if config.reuses_hidden_states:
        data.cache_hidden_states(module.network, trainer)
    trainer.fit(module, data)
    if clock.limit is None:
        return None
    data.states, logits = None, []
    module.eval().to(device())
    for part in ("val", "test"):
        rows, values = [], []
        for batch in data.loader(part):
            rows += batch["rows"]
            with torch.inference_mode():
                inputs = batch["input_values"].to(device()), batch["attention_mask"].to(device())
                values.append(module(*inputs).cpu())
        logits.append(torch.cat(values)[np.argsort(rows)].numpy())
    table = problem.table
    true = np.array([*problem.labels(table.part("val")), *problem.labels(table.part("test"))])
    return score(true, np.concatenate(logits).argmax(1), config.data.label_space).uar


def train_notebook(problem: Problem, clock: Clock) -> float | None:
    """A typical notebook: decode in each epoch, 5 s per clip, fp32, nothing frozen, no mask."""

    def read(path: str) -> torch.Tensor:
        waveform, _ = librosa.load(path, sr=SAMPLE_RATE)
        waveform = librosa.util.fix_length(waveform, size=5 * SAMPLE_RATE)
        return torch.from_numpy(EXTRACTOR(waveform, sampling_rate=SAMPLE_RATE).input_values[0])

    network = problem.network().train().to(device())
    optimizer = torch.optim.AdamW(network.parameters(), lr=problem.config.model.lr)
    clips = Clips(problem, problem.rows("train"), read)
    loader = DataLoader(clips, problem.batch, shuffle=True)
    done = False
    while not done:
        clock.start_epoch()
        for batch in loader:
            optimizer.zero_grad()
            given = {name: value.to(device()) for name, value in batch.items()}
            network(**given).loss.backward()
            optimizer.step()
            done = clock.step()
            if done:
                break
        clock.end_epoch()
        done = done or (clock.limit is None and len(clock.result.epochs) == EPOCHS)
    if clock.limit is None:
        return None
    network.eval()
    with torch.no_grad():
        held_out = DataLoader(Clips(problem, problem.rows("val", "test"), read), problem.batch)
        logits = [network(batch["input_values"].to(device())).logits.cpu() for batch in held_out]
    return problem.uar(torch.cat(logits).numpy())


class Watch(TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.start_epoch()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop |= self.clock.step()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.end_epoch()


def train_trainer(problem: Problem, clock: Clock, bf16: bool = False) -> float | None:
    """The Hugging Face Trainer as its audio-classification example sets it up.

    The feature encoder is frozen, batches are random and padded to their longest, with a mask.
    Decoding stands in for that of the `datasets` library, which needs torchcodec.
    """

    def read(path: str) -> np.ndarray:
        recording = decode(Path(path))
        waveform = resample(recording.waveform, recording.sample_rate)
        return EXTRACTOR(waveform, sampling_rate=SAMPLE_RATE).input_values[0]

    network = problem.network()
    if problem.config.model.freeze_feature_encoder:
        network.freeze_feature_encoder()
    arguments = TrainingArguments(
        output_dir="unused",
        num_train_epochs=EPOCHS if clock.limit is None else 10_000,
        lr_scheduler_type="linear" if clock.limit is None else "constant",
        per_device_train_batch_size=problem.batch,
        learning_rate=problem.config.model.lr,
        remove_unused_columns=False,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        seed=problem.config.seed,
    )
    trainer = Trainer(
        model=network,
        args=arguments,
        train_dataset=Clips(problem, problem.rows("train"), read),
        processing_class=EXTRACTOR,
        callbacks=[Watch(clock)],
    )
    trainer.train()
    if clock.limit is None:
        return None
    held_out: Any = Clips(problem, problem.rows("val", "test"), read)
    return problem.uar(np.asarray(trainer.predict(held_out).predictions))


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_memory() -> float:
    """GiB: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_kib() / 2**20


def main(name: str, folder: Path) -> None:
    silence_warnings()
    task = Task(**json.loads((folder / "task.json").read_text()))
    config = compose_command("train", task.overrides, TrainConfig)
    torch.manual_seed(config.seed)
    table = manifest.read(folder / "manifest.csv")
    problem = Problem(config, manifest.Manifest(table, table.iloc[:0]), task)
    result = Result()
    clock = Clock(task.seconds, result)
    if name.startswith("trainer"):
        result.uar = train_trainer(problem, clock, bf16=name == "trainer_bf16")
    else:
        result.uar = (train_notebook if name == "notebook" else train_ours)(problem, clock)
    result.peak = peak_memory()
    (folder / f"{name}.json").write_text(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
