"""Preparing and loading data, compared with common alternatives.

    python benchmarks/data.py        # some minutes, and 2 GB of temporary files

Clips are those of SER_REAL_AUDIO (a folder with ravdess/ and tess/ in it), or synthetic ones. They
are written out as often as the four corpora have files, at their sample rates. All contenders take
turns in one process on the same files; the best of three rounds counts. Only ratios are comparable.
"""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import soundfile
import soxr
from joblib.externals.loky import get_reusable_executor
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import Wav2Vec2FeatureExtractor

from ser.audio.cache import AudioCache
from ser.audio.decode import load
from ser.config.data import DataConfig
from ser.config.split import SplitConfig
from ser.corpora.emotions import Emotion
from ser.data.datamodule import EmotionDataModule
from ser.preparation.prepare import prepare
from ser.training.provenance import processor

ROUNDS = 3
CORPORA = {48_000: 1440, 16_000: 7442, 24_414: 2800, 44_100: 480}  # Hz: files
DATASETS = Path(__file__).parents[1] / ".venv" / "bench"  # where `make bench-data` puts it


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = choose(folder)
        manifest = prepare(data, SplitConfig())
        files = [Path(path) for path in manifest.utterances["path"]]
        table = Table("", "seconds", "alternative", "ratio", "goal")
        corpora = stand_in(files, folder / "corpora")
        for measured in (
            measure_decoding(corpora, folder),
            measure_preparing(corpora, folder),
            measure_loading(data),
            measure_padding(data),
        ):
            for row in measured:
                table.add_row(*row)
    console.print(describe(len(files), manifest.utterances["seconds"].sum() / 60))
    console.print(table)


def choose(folder: Path) -> DataConfig:
    """Real recordings if SER_REAL_AUDIO names them, else the synthetic corpora."""
    real = os.environ.get("SER_REAL_AUDIO")
    cache_dir = str(folder / "cache")
    if real is None:
        return DataConfig(synthetic=str(folder / "synthetic"), cache_dir=cache_dir)
    paths: dict[str, str | None] = {name: f"{real}/{name}" for name in ("ravdess", "tess")}
    return DataConfig(corpora=list(paths), paths=paths, cache_dir=cache_dir)


def best(run: Callable[[], object], setup: Callable[[], object] = lambda: None) -> float:
    """The fewest seconds over ROUNDS; `setup` runs before each round and is not timed."""
    times = []
    for _ in range(ROUNDS):
        setup()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def row(name: str, seconds: float, other: str, taken: float, goal: str) -> tuple[str, ...]:
    return name, f"{seconds:.3f}", f"{other}: {taken:.3f} s", f"{taken / seconds:.1f} x", goal


def stand_in(clips: list[Path], folder: Path) -> list[Path]:
    """As many files as the four corpora have, at their rates, each played at its own speed."""
    folder.mkdir()
    waveforms = [load(clip) for clip in clips]
    files = []
    for rate, count in CORPORA.items():
        for number in track(range(count), f"Writing {count} files of {rate} Hz"):
            round_, which = divmod(number, len(clips))
            speed = 1 + 0.03 * round_
            files.append(folder / f"{rate}-{number}.wav")
            samples = soxr.resample(waveforms[which], 16_000 * speed, rate)
            soundfile.write(files[-1], samples, rate, subtype="PCM_16")
    return files


def measure_decoding(files: list[Path], folder: Path) -> Iterable[tuple[str, ...]]:
    """Decode, hash and cache all files, against decoding alone with librosa and datasets.

    The worker processes are started again in every round.
    """
    sources = pd.DataFrame({"path": list(map(str, files)), "start": 0.0, "end": 0.0})
    fresh = folder / "fresh"

    def clear() -> None:
        shutil.rmtree(fresh, ignore_errors=True)
        get_reusable_executor().shutdown(wait=True)

    librosa.load(files[0], sr=16_000)  # its first call imports for seconds
    ours = best(lambda: AudioCache(fresh).add(sources), clear)
    clear()
    alone = best(lambda: decode_each(files))
    yield row("decode, hash, cache", ours, "librosa.load, one thread", alone, ">= 2 x on 2 cores")
    if audio := load_with_datasets(files):
        yield row("decode, hash, cache", ours, "datasets, Audio feature", best(audio), "")


def decode_each(files: Iterable[Path | str]) -> None:
    for file in files:
        librosa.load(file, sr=16_000)


def measure_preparing(files: list[Path], folder: Path) -> Iterable[tuple[str, ...]]:
    """`ser prepare` on unchanged files, against its first run on them."""
    table = folder / "table.csv"
    emotions = [emotion.value for emotion, _ in zip(cycle(Emotion), files, strict=False)]
    pd.DataFrame({"path": list(map(str, files)), "emotion": emotions}).to_csv(table, index=False)
    cache = folder / "prepared"
    data = DataConfig(corpora=[], table=str(table), cache_dir=str(cache))

    def run() -> None:
        prepare(data, SplitConfig())

    first = best(run, lambda: shutil.rmtree(cache, ignore_errors=True))
    yield row("ser prepare, unchanged files", best(run), "the first time", first, ">= 20 x")


def load_with_datasets(files: list[Path]) -> Callable[[], object] | None:
    """A function that reads all files through a Hugging Face dataset; None if not installed.

    Version 3: later ones decode with torchcodec, which needs FFmpeg and a CUDA build of torch.
    """
    sys.path.append(str(DATASETS))
    try:
        from datasets import Audio, Dataset  # pyright: ignore
    except ImportError:
        return None
    table = Dataset.from_dict({"audio": list(map(str, files))})
    table = table.cast_column("audio", Audio(sampling_rate=16_000))
    return lambda: deque((example["audio"]["array"] for example in table), maxlen=0)


def measure_loading(data: DataConfig) -> Iterable[tuple[str, ...]]:
    """An epoch from the cache, against one that decodes each file."""
    manifest = prepare(data, SplitConfig())
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    module = EmotionDataModule(manifest, data)
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

    decoding = best(lambda: decode_each(paths))
    yield row("waveforms of an epoch", best(read), "librosa.load each", decoding, ">= 20 x")
    yield row("batches of an epoch", best(epoch), "librosa.load each, normalised", best(decode), "")


def measure_padding(data: DataConfig) -> Iterable[tuple[str, ...]]:
    """The share of samples that are padding."""
    manifest = prepare(data, SplitConfig())
    batches = EmotionDataModule(manifest, data).train_dataloader()
    valid, padded = np.sum(
        [(batch["attention_mask"].sum(), batch["attention_mask"].numel()) for batch in batches], 0
    )
    seconds = manifest.part("train")["seconds"].to_numpy()
    order, size = np.random.default_rng(0).permutation(len(seconds)), data.batch_size
    groups = [seconds[order[i : i + size]] for i in range(0, len(order), size)]
    random = 1 - seconds.sum() / sum(group.max() * len(group) for group in groups)
    fixed = 1 - np.minimum(seconds, 5).sum() / (5 * len(seconds))
    others = f"random batches {random:.1%}, all to 5 s {fixed:.1%}"
    yield f"padding, batches of {size}", f"{1 - valid / padded:.1%}", others, "", "< 5 %"


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
