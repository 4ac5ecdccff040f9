"""IEMOCAP: five sessions of two actors each, 10,039 turns labelled by listeners.

Not tried on the real audio: written from the documented layout, `Session1/sentences/wav/
Ses01F_impro01/Ses01F_impro01_F000.wav`, with the labels in `Session1/dialog/EmoEvaluation/*.txt`
and the words in `Session1/dialog/transcriptions/*.txt`. The letter before the last number is the
speaker's gender. Excited, frustrated, other and turns without a majority are not among the eight
classes; `data.merge={excited: happy}` gives the usual four-class protocol.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePath

from ser.corpora.corpus import Corpus, Fold, Parser, Utterance
from ser.corpora.emotions import Emotion
from ser.errors import UserError

NAME = re.compile(r"(Ses0[1-5])[FM]_(?:impro|script)\w+_([FM])X*\d+")
LABEL = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\S+)\s+([a-z]{3})\s")
WORDS = re.compile(r"(Ses0\S+) \[[\d. -]+\]:\s*(.*)")
EMOTIONS = {
    "neu": Emotion.NEUTRAL,
    "hap": Emotion.HAPPY,
    "sad": Emotion.SAD,
    "ang": Emotion.ANGRY,
    "fea": Emotion.FEAR,
    "dis": Emotion.DISGUST,
    "sur": Emotion.SURPRISE,
    "exc": "excited",
    "fru": "frustrated",
    "oth": "other",
    "xxx": "no_agreement",
}
GENDERS = {"F": "female", "M": "male"}


def read_annotations(folder: Path) -> Parser:
    labels = dict(find_all(LABEL, folder, "EmoEvaluation"))
    if not labels:
        raise UserError(
            f"data.paths.iemocap={folder}: no labels in Session*/dialog/EmoEvaluation/*.txt"
        )
    return partial(parse, labels, dict(find_all(WORDS, folder, "transcriptions")))


def find_all(pattern: re.Pattern[str], folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """The two groups of each matching line in the text files of the folders with that name."""
    for file in sorted(folder.rglob(f"{name}/*.txt")):
        if file.name.startswith("."):  # resource forks of macOS
            continue
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := pattern.match(f"{line} "):
                yield found[1], found[2].strip()


def parse(labels: dict[str, str], words: dict[str, str], path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.stem)
    if fields is None or path.suffix.lower() != ".wav":
        raise ValueError("not SesNNG_DIALOG_GNNN.wav")
    if labels.get(path.stem) not in EMOTIONS:
        raise ValueError("no label in EmoEvaluation")
    return Utterance(
        id=path.stem,
        speaker=fields[1] + fields[2],
        gender=GENDERS[fields[2]],
        emotion=str(EMOTIONS[labels[path.stem]]),
        sentence=words.get(path.stem, "").casefold(),
    )


CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP",
    homepage="https://sail.usc.edu/iemocap",
    files=10_039,
    example="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    licence="research use, by agreement with the University of Southern California",
    citation="C. Busso et al. (2008), Language Resources and Evaluation 42(4): 335-359",
    read_annotations=read_annotations,
    # One session for testing, as in EmoBox (Ma et al. 2024) and most papers.
    folds={"emobox": tuple(Fold((f"Ses0{n}F", f"Ses0{n}M")) for n in range(1, 6))},
)
