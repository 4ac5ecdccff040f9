"""Preparing and loading data, beside what a user would pick instead.

    python benchmarks/data.py        # about a minute

Clips are those of SER_REAL_AUDIO (a folder with ravdess/ and tess/ in it), or synthetic ones. All
contenders take turns in one process on the same files; the best of three rounds counts. Only the
ratios mean anything.
"""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from ser.cache import AudioCache
from ser.data import EmotionDataModule
from ser.data_config import DataConfig, SplitConfig
from ser.model import build_feature_extractor
from ser.model_config import BackboneConfig
from ser.preparation import prepare
from ser.provenance import processor

ROUNDS = 3
DATASETS = Path(__file__).parents[1] / ".venv" / "bench"  # where `make bench-data` puts it


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = choose(folder)
        manifest = prepare(data, SplitConfig())
        files = [Path(path) for path in manifest.utterances["path"]]
        table = Table("", "seconds", "beside", "ratio", "goal")
        for row in (*judge_preparing(files, data, folder), *judge_loading(data, folder)):
            table.add_row(*row)
        for row in judge_padding(data):
            table.add_row(*row)
    console.print(describe(len(files), manifest.utterances["seconds"].sum() / 60))
    console.print(table)


def choose(folder: Path) -> DataConfig:
    """Real recordings where there are any, else the synthetic corpora."""
    real = os.environ.get("SER_REAL_AUDIO")
    cache_dir = str(folder / "cache")
    if real is None:
        return DataConfig(synthetic=str(folder / "synthetic"), cache_dir=cache_dir)
    paths: dict[str, str | None] = {name: f"{real}/{name}" for name in ("ravdess", "tess")}
    return DataConfig(corpora=list(paths), paths=paths, cache_dir=cache_dir)


def best(run: Callable[[], object], setup: Callable[[], object] = lambda: None) -> float:
    """The fewest seconds of some rounds; `setup` comes before each and is not counted."""
    times = []
    for _ in range(ROUNDS):
        setup()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def row(name: str, seconds: float, beside: str, other: float, goal: str) -> tuple[str, ...]:
    return name, f"{seconds:.3f}", f"{beside}: {other:.3f} s", f"{other / seconds:.1f} x", goal


def judge_preparing(files: list[Path], data: DataConfig, folder: Path) -> Iterable[tuple[str, ...]]:
    """Decode, hash and cache all files, against decoding alone with librosa and datasets."""
    sources = pd.DataFrame({"path": list(map(str, files)), "start": 0.0, "end": 0.0})
    fresh = folder / "fresh"

    def cache() -> None:
        AudioCache(fresh).add(sources)

    librosa.load(files[0], sr=16_000)  # its first call imports for seconds
    ours = best(cache, lambda: shutil.rmtree(fresh, ignore_errors=True))
    alone = best(lambda: [librosa.load(file, sr=16_000) for file in files])
    yield row("decode, hash, cache", ours, "librosa.load, one thread", alone, ">= 2 x on 2 cores")
    if audio := load_with_datasets(files):
        yield row("decode, hash, cache", ours, "datasets, Audio feature", best(audio), "")
    again = best(lambda: prepare(data, SplitConfig()))

    def anew() -> None:
        prepare(DataConfig(**{**vars(data), "cache_dir": str(fresh)}), SplitConfig())

    first = best(anew, lambda: shutil.rmtree(fresh, ignore_errors=True))
    yield row("ser prepare, unchanged files", again, "the first time", first, ">= 20 x")


def load_with_datasets(files: list[Path]) -> Callable[[], object] | None:
    """Read all files through a Hugging Face dataset, where that is installed.

    Version 3: later ones decode with torchcodec, which needs FFmpeg and a CUDA build of torch.
    """
    sys.path.append(str(DATASETS))
    try:
        from datasets import Audio, Dataset  # pyright: ignore
    except ImportError:
        return None
    table = Dataset.from_dict({"audio": list(map(str, files))})
    table = table.cast_column("audio", Audio(sampling_rate=16_000))
    return lambda: [example["audio"]["array"] for example in table]


def judge_loading(data: DataConfig, folder: Path) -> Iterable[tuple[str, ...]]:
    """An epoch from the cache, against one that decodes each file."""
    manifest = prepare(data, SplitConfig())
    extractor = build_feature_extractor(BackboneConfig(name="x/y", pretrained=False))
    module = EmotionDataModule(manifest, data, extractor)
    paths = manifest.part("train")["path"].tolist()

    def decode() -> None:
        for path in paths:
            extractor(librosa.load(path, sr=16_000)[0], sampling_rate=16_000)

    def epoch() -> None:
        for _ in module.train_dataloader():
            pass

    def read() -> None:
        recordings = module.cache.recordings(manifest.part("train")["content"].tolist())
        for place in range(len(recordings)):
            recordings[place]

    def decode_only() -> None:
        for path in paths:
            librosa.load(path, sr=16_000)

    yield row(
        "waveforms of an epoch", best(read), "librosa.load each", best(decode_only), ">= 20 x"
    )
    yield row("batches of an epoch", best(epoch), "librosa.load each, normalised", best(decode), "")


def judge_padding(data: DataConfig) -> Iterable[tuple[str, ...]]:
    """The share of samples that are padding."""
    manifest = prepare(data, SplitConfig())
    extractor = build_feature_extractor(BackboneConfig(name="x/y", pretrained=False))
    batches = EmotionDataModule(manifest, data, extractor).train_dataloader()
    valid, padded = np.sum(
        [(batch["attention_mask"].sum(), batch["attention_mask"].numel()) for batch in batches], 0
    )
    seconds = manifest.part("train")["seconds"].to_numpy()
    order, size = np.random.default_rng(0).permutation(len(seconds)), data.batch_size
    groups = [seconds[order[i : i + size]] for i in range(0, len(order), size)]
    random = 1 - seconds.sum() / sum(group.max() * len(group) for group in groups)
    fixed = 1 - np.minimum(seconds, 5).sum() / (5 * len(seconds))
    others = f"random batches {random:.1%}, all to 5 s {fixed:.1%}"
    yield f"padding, {size} a batch", f"{1 - valid / padded:.1%}", others, "", "< 5 %"


def describe(clips: int, minutes: float) -> str:
    names = ("librosa", "soundfile", "soxr", "pandas", "torch")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    what = "real clips" if os.environ.get("SER_REAL_AUDIO") else "synthetic clips"
    return (
        f"{clips} {what}, {minutes:.0f} minutes; {processor()}, {os.cpu_count()} cores;"
        f" Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    main()
