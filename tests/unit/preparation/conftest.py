"""Utterances before a split, and tables of a user."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ser.audio.cache import AudioCache
from ser.config.data import DataConfig
from ser.config.split import SplitConfig, SplitKind
from ser.preparation.manifest import DROPPED_COLUMNS, Manifest
from ser.preparation.prepare import build
from ser.preparation.splits import assign

EMOTIONS = ("neutral", "happy", "sad")
SENTENCES = tuple(f"s{number:02}" for number in range(20))


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """Utterances of a number of speakers per corpus, with some takes of three emotions each."""

    def table(speakers: dict[str, int], takes: int = 10) -> pd.DataFrame:
        rows = [
            (f"{corpus}/{speaker}/{emotion}/{take}", corpus, f"{corpus}/{speaker}", emotion)
            for corpus, count in speakers.items()
            for speaker in range(count)
            for emotion in EMOTIONS
            for take in range(takes)
        ]
        frame = pd.DataFrame(rows, columns=pd.Index(["id", "corpus", "speaker", "emotion"]))
        names = frame["id"]
        return frame.assign(
            gender="female", sentence="", content=names, recording=names, path=names
        )

    return table


@pytest.fixture
def spoken(table: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """Every speaker says every sentence in three emotions."""

    def spoken(
        speakers: int = 20, corpus: str = "my", sentences: tuple[str, ...] = SENTENCES
    ) -> pd.DataFrame:
        frame = table({corpus: speakers}, takes=len(sentences))
        take = frame["id"].str.rpartition("/")[2].astype(int)
        return frame.assign(sentence=take.map(dict(enumerate(sentences))))

    return spoken


@pytest.fixture
def split() -> Callable[..., pd.DataFrame]:
    """The utterances after a split."""

    def split(frame: pd.DataFrame, kind: str = "stratified", **options) -> pd.DataFrame:
        empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
        config = SplitConfig(kind=SplitKind(kind), **options)
        return assign(Manifest(frame, empty), config).utterances

    return split


@pytest.fixture
def own_table(tmp_path: Path, write_tone: Callable[..., Path]) -> Callable[..., Path]:
    """Write a table and nine recordings, 0.wav to 8.wav, beside it."""

    def own_table(text: str, name: str = "my.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        for pitch in range(9):
            if not (tmp_path / f"{pitch}.wav").exists():
                write_tone(tmp_path / f"{pitch}.wav", pitch=100 + 50 * pitch, seconds=1.0)
        return path

    return own_table


@pytest.fixture
def build_table(tmp_path: Path) -> Callable[..., Manifest]:
    """The manifest of a table, with any settings of the data."""

    def build_table(path: Path, **settings) -> Manifest:
        data = DataConfig(corpora=[], table=str(path), **settings)
        return build(data, AudioCache(tmp_path / "cache"))

    return build_table
