"""SAVEE: four men (DC, JE, JK, KL), seven emotions, 480 files.

Two layouts exist: `ALL/DC_a01.wav`, and `AudioData/DC/a01.wav`, where base names repeat across
speakers and the folder is the speaker.
"""

import re
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Fold, Utterance
from ser.corpora.emotions import Emotion

SPEAKERS = ("DC", "JE", "JK", "KL")
# `sa` and `su` come before the single letters, or every sad clip would be parsed as angry.
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
# Neutral 19 to 30 repeat sentences 4 and 5 of the other emotions, in this order.
REPEATED = [
    f"{code}{number}" for code in ("a", "d", "f", "su", "sa", "h") for number in ("04", "05")
]


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
        sentence=find_sentence(code, number),
    )


def find_sentence(code: str, number: str) -> str:
    """The identity of the spoken sentence; the number in a file name is not one.

    Three sentences are common to all emotions, twelve are spoken in one emotion and in neutral,
    and all others occur in one emotion only.
    """
    index = int(number)
    if index <= 3:
        return f"common{index}"
    if code == "n" and 16 <= index <= 18:
        return f"common{index - 15}"
    if code == "n" and index >= 19:
        return REPEATED[index - 19]
    return f"{code}{number}"


CORPUS = Corpus(
    name="savee",
    title="SAVEE",
    handles=(
        "ejlok1/surrey-audiovisual-expressed-emotion-savee",
        "barelydedicated/savee-database",
    ),
    files=480,
    example="ALL/DC_a01.wav",
    licence="research use, by registration with the authors",
    citation="S. Haq and P. J. B. Jackson (2009), Proc. AVSP, 53-58",
    parse=parse,
    folds={"emobox": (Fold(("JE",)), Fold(("KL",)), Fold(("DC",)), Fold(("JK",)))},
)
