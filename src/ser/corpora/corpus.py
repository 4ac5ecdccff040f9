"""What a corpus is: where it comes from, on what terms, and what its file names say."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

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
    corpus folder, or raises ValueError where the name is off the grammar.
    """

    name: str
    title: str
    handles: tuple[str, ...]
    files: int
    licence: str
    citation: str
    parse: Callable[[PurePath], Utterance]
