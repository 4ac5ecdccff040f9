"""ESD, the Emotional Speech Dataset: 10 English and 10 Mandarin speakers, 35,000 files.

Not tried on the real audio: written from the documented layout. Files are
`0011/Angry/0011_000351.wav`, in some releases with a folder train, evaluation or test below the
emotion. Utterances are numbered in blocks of 350, one block for each emotion, with the same 350
texts in each block.
"""

import re
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Utterance, fold_speakers
from ser.corpora.emotions import Emotion

NAME = re.compile(r"(00(?:0[1-9]|1\d|20))_(\d{6})\.wav", re.I)
BLOCKS = (Emotion.NEUTRAL, Emotion.ANGRY, Emotion.HAPPY, Emotion.SAD, Emotion.SURPRISE)
TEXTS = 350
MEN = frozenset(["0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"])
PARTS = {"train": "train", "evaluation": "val", "test": "test"}


def parse(path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None:
        raise ValueError("not SPEAKER_NNNNNN.wav")
    speaker, number = fields[1], int(fields[2]) - 1
    if not 0 <= number < TEXTS * len(BLOCKS):
        raise ValueError(f"number {fields[2]} is not from 000001 to {TEXTS * len(BLOCKS):06}")
    emotion = BLOCKS[number // TEXTS]
    folders = [folder.lower() for folder in path.parts[:-1]]
    if folders and str(emotion) not in folders:
        raise ValueError(f"number {fields[2]} is {emotion}, but the folder is {folders[-1]}")
    language = "en" if speaker > "0010" else "zh"
    return Utterance(
        id=path.stem,
        speaker=speaker,
        gender="male" if speaker in MEN else "female",
        emotion=emotion,
        sentence=f"{language}{number % TEXTS + 1:03}",
        split=next((PARTS[name] for name in reversed(folders) if name in PARTS), ""),
    )


CORPUS = Corpus(
    name="esd",
    title="ESD",
    homepage="https://hltsingapore.github.io/ESD",
    files=35_000,
    example="0011/Angry/0011_000351.wav",
    licence="research use, by agreement with the authors",
    citation="K. Zhou, B. Sisman, R. Liu and H. Li (2022), Speech Communication 137: 1-18",
    parse=parse,
    # Ma et al. (2024), EmoBox, Interspeech: five folds.
    folds={
        "emobox": fold_speakers(
            "0005 0011 0016 0018, 0012 0014 0015 0019, 0003 0004 0006 0009, 0007 0008 0013 0020,"
            " 0001 0002 0010 0017"
        )
    },
)
