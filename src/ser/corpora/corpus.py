"""What a corpus is: where it comes from, on what terms, and what its file names say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ser.labels import Emotion


@dataclass(frozen=True)
class Utterance:
    """What the name of one audio file says of it.

    `id` is the canonical identity inside its corpus: two files with one id are copies.
    `note` tells what was repaired in the name, and is empty for a regular one.
    """

    id: str
    speaker: str
    gender: str
    emotion: Emotion
    sentence: str
    note: str = ""


@dataclass(frozen=True)
class Corpus:
    """A corpus as it is published.

    `handles` are Kaggle datasets in order of preference, `files` is how many audio files a
    complete copy holds (mirror copies not counted), and `parse` reads a path relative to the
    corpus folder, or raises ValueError where the name is off the grammar. `read_votes` reads a
    published table of what most listeners heard (several emotions for a tie), by utterance id;
    `folds` are published ones, by the name of their scheme: the test speakers of each fold.
    """

    name: str
    title: str
    handles: tuple[str, ...]
    files: int
    licence: str
    citation: str
    parse: Callable[[PurePath], Utterance]
    read_votes: Callable[[Path], dict[str, tuple[Emotion, ...]]] | None = None
    folds: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
