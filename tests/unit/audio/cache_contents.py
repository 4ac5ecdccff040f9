"""What is in the folder of a cache."""

from pathlib import Path
from typing import Any

import pandas as pd

from ser.audio.cache import AudioCache


def sources(*paths: Path, start: float = 0.0, end: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"path": list(map(str, paths)), "start": start, "end": end})


def add(folder: Path, *paths: Path) -> Any:
    """The result of a cache in this folder for the first of these files."""
    return AudioCache(folder).add(sources(*paths)).iloc[0]


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.pcm")}


def index_of(folder: Path) -> Path:
    [index] = folder.rglob("*.csv")
    return index


def shard_of(folder: Path) -> Path:
    [shard] = folder.rglob("*.pcm")
    return shard
