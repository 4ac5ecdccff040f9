"""SAVEE: four men (DC, JE, JK, KL), seven emotions, 480 files.

Two layouts are in circulation: `ALL/DC_a01.wav`, and `AudioData/DC/a01.wav`, where base names
repeat across speakers and the folder tells who speaks.
"""

import re
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Utterance
from ser.labels import Emotion

SPEAKERS = ("DC", "JE", "JK", "KL")
# `sa` and `su` stand before the single letters, or every sad clip would be read as angry.
NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)(0[1-9]|1\d|2\d|30)\.wav", re.I)
EMOTIONS = {
    "a": Emotion.ANGRY,
    "d": Emotion.DISGUST,
    "f": Emotion.FEAR,
    "h": Emotion.HAPPY,
    "n": Emotion.NEUTRAL,
    "sa": Emotion.SAD,
    "su": Emotion.SURPRISE,
}


def parse(path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None:
        raise ValueError("neither SPEAKER_emotionNN.wav nor SPEAKER/emotionNN.wav")
    speaker = (fields[1] or path.parent.name).upper()
    if speaker not in SPEAKERS:
        raise ValueError(f"folder {path.parent.name!r} is none of the speakers DC, JE, JK, KL")
    code, number = fields[2].lower(), fields[3]
    if code != "n" and int(number) > 15:
        raise ValueError("only neutral has more than 15 sentences")
    return Utterance(
        id=f"{speaker}_{code}{number}",
        speaker=speaker,
        gender="male",
        emotion=EMOTIONS[code],
        sentence=f"{code}{number}",
    )


CORPUS = Corpus(
    name="savee",
    title="SAVEE",
    handles=(
        "ejlok1/surrey-audiovisual-expressed-emotion-savee",
        "barelydedicated/savee-database",
    ),
    files=480,
    licence="research use, by registration with the authors",
    citation="S. Haq and P. J. B. Jackson (2009), Proc. AVSP, 53-58",
    parse=parse,
    folds={"emobox": (("JE",), ("KL",), ("DC",), ("JK",))},
)
