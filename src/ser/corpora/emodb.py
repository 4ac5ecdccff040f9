"""EmoDB, the Berlin database of emotional speech (German): ten actors, seven emotions, 535 files.

Names are `wav/03a01Fa.wav`: speaker, text, first letter of the German emotion word, version. Each
of the ten texts is spoken in every emotion. Boredom is not one of the eight classes, so it is left
out unless `data.labels` names it.
"""

import re
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Utterance
from ser.corpora.emotions import Emotion

NAME = re.compile(r"(0[389]|1[0-6])(a0[12457]|b0[12379]|b10)([WLEAFTN])([a-z])\.wav", re.I)
EMOTIONS = {
    "W": Emotion.ANGRY,
    "L": "boredom",
    "E": Emotion.DISGUST,
    "A": Emotion.FEAR,
    "F": Emotion.HAPPY,
    "T": Emotion.SAD,
    "N": Emotion.NEUTRAL,
}
SPEAKERS = {  # gender and age
    "03": ("male", "31"),
    "08": ("female", "34"),
    "09": ("female", "21"),
    "10": ("male", "32"),
    "11": ("male", "26"),
    "12": ("male", "30"),
    "13": ("female", "32"),
    "14": ("female", "35"),
    "15": ("male", "25"),
    "16": ("female", "31"),
}


def parse(path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None:
        raise ValueError("not SSTTTEv.wav (speaker, text, emotion, version)")
    speaker, text, code, version = fields.groups()
    gender, age = SPEAKERS[speaker]
    return Utterance(
        id=f"{speaker}{text.lower()}{code.upper()}{version.lower()}",
        speaker=speaker,
        gender=gender,
        age=age,
        emotion=str(EMOTIONS[code.upper()]),
        sentence=text.lower(),
    )


CORPUS = Corpus(
    name="emodb",
    title="EmoDB",
    homepage="http://emodb.bilderbar.info",
    files=535,
    example="wav/03a01Fa.wav",
    licence="free for research, without registration",
    citation="F. Burkhardt et al. (2005), Proc. Interspeech, 1517-1520",
    parse=parse,
)
