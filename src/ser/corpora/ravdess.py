"""RAVDESS, the speech part: 24 actors, 1,440 files (one of them a byte-identical duplicate).

Names are seven two-digit fields: modality, vocal channel, emotion, intensity, statement,
repetition, actor. Odd actors are male, even ones female. Known oddities: the Kaggle copy holds
every file twice (`Actor_*/` and `audio_speech_actors_01-24/Actor_*/`), five files are stereo, and
Actor_07 has one recording under two repetitions.
"""

import re
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Utterance
from ser.labels import Emotion

NAME = re.compile(r"(\d\d)-(\d\d)-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])\.wav", re.I)
EMOTIONS = {
    "01": Emotion.NEUTRAL,
    "02": Emotion.CALM,
    "03": Emotion.HAPPY,
    "04": Emotion.SAD,
    "05": Emotion.ANGRY,
    "06": Emotion.FEAR,
    "07": Emotion.DISGUST,
    "08": Emotion.SURPRISE,
}


def parse(path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None:
        raise ValueError("not MM-VC-EM-IN-ST-RE-AC.wav")
    modality, channel, emotion, intensity, statement, _, actor = fields.groups()
    if (modality, channel) != ("03", "01"):
        raise ValueError(f"modality {modality}, channel {channel}: not audio-only speech (03, 01)")
    if emotion == "01" and intensity == "02":
        raise ValueError("neutral has no strong intensity")
    return Utterance(
        id=path.stem,
        speaker=actor,
        gender="male" if int(actor) % 2 else "female",
        emotion=EMOTIONS[emotion],
        sentence=statement,
    )


def read_folds(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(fold.split()) for fold in text.split(","))


FOLDS = {
    # Ma et al. (2024), EmoBox, Interspeech: six folds.
    "emobox": read_folds(
        "01 11 20 21, 04 10 12 14, 08 09 19 23, 03 05 07 24, 02 15 16 18, 06 13 17 22"
    ),
    # Luna-Jimenez et al. (2021), Sensors 21(22): 7665: five folds.
    "luna_jimenez": read_folds(
        "02 05 14 15 16, 03 06 07 13 18, 10 11 12 19 20, 08 17 21 23 24, 01 04 09 22"
    ),
}
CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS (speech)",
    handles=("uwrfkaggler/ravdess-emotional-speech-audio",),
    files=1440,
    licence="CC BY-NC-SA 4.0",
    citation="S. R. Livingstone and F. A. Russo (2018), PLoS ONE 13(5): e0196391",
    parse=parse,
    folds=FOLDS,
)
