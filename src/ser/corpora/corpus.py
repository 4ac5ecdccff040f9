"""What a corpus is: its source, its terms, and how its file names are parsed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ser.errors import UserError


@dataclass(frozen=True)
class Utterance:
    """The metadata of one audio file.

    `id` is the identity inside the corpus: two files with one id are copies. `emotion` is one of
    the eight labels of `ser.corpora.emotions` or another word, such as boredom. `split` is the part
    (train, val or test) of a partition that the corpus itself publishes. `note` says what was
    repaired in the file name. Everything unknown is an empty string.
    """

    id: str
    speaker: str
    gender: str
    emotion: str
    sentence: str
    age: str = ""
    intensity: str = ""
    split: str = ""
    note: str = ""


@dataclass(frozen=True)
class Fold:
    """One published fold: its test speakers, its validation speakers if they are fixed too.

    `excluded` are the ids of utterances that the published list does not contain.
    """

    test: tuple[str, ...]
    val: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


Parser = Callable[[PurePath], Utterance]
"""Parses a path relative to the corpus folder; raises ValueError for a name of another form."""


@dataclass(frozen=True)
class Corpus:
    """A published corpus.

    Give `parse` if the file names hold the labels, or `read_annotations` if other files do: it
    reads them from the corpus folder and returns the parser. `handles` are Kaggle datasets in order
    of preference; without any, the user downloads the corpus from `homepage`. `files` is the number
    of audio files of a complete copy (0: unknown) and `example` a typical path. `read_votes` reads
    a published table of listeners' votes and returns the most frequent emotions (several for a tie)
    by utterance id. `read_demographics` reads a published table of the speakers and returns their
    age, race and ethnicity by column for each speaker. `folds` are published folds by the name of
    their scheme.
    """

    name: str
    title: str
    licence: str
    citation: str
    parse: Parser | None = None
    read_annotations: Callable[[Path], Parser] | None = None
    handles: tuple[str, ...] = ()
    homepage: str = ""
    files: int = 0
    example: str = ""
    read_votes: Callable[[Path], dict[str, tuple[str, ...]]] | None = None
    read_demographics: Callable[[Path], dict[str, dict[str, str]]] | None = None
    folds: Mapping[str, tuple[Fold, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.parse is None) == (self.read_annotations is None):
            raise ValueError(f"corpus {self.name} needs parse or read_annotations, and not both")

    def parser(self, folder: Path) -> Parser:
        """The parser for a copy of the corpus; raises UserError if its annotations are missing."""
        if self.parse is not None:
            return self.parse
        assert self.read_annotations is not None
        return self.read_annotations(folder)

    def check_available(self) -> None:
        """Raise UserError for a corpus that only the user can download."""
        if not self.handles:
            raise UserError(
                f"data.paths.{self.name} is not set: {self.title} is not on Kaggle. Get it from"
                f" {self.homepage or 'its authors'} and set data.paths.{self.name}=FOLDER (or a"
                " ZIP file)."
            )


def fold_speakers(text: str) -> tuple[Fold, ...]:
    """Folds written as the test speakers of each, such as "01 11, 04 10"."""
    return tuple(Fold(tuple(fold.split())) for fold in text.split(","))
