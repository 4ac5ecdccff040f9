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


CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS (speech)",
    handles=("uwrfkaggler/ravdess-emotional-speech-audio",),
    files=1440,
    licence="CC BY-NC-SA 4.0",
    citation="S. R. Livingstone and F. A. Russo (2018), PLoS ONE 13(5): e0196391",
    parse=parse,
)
