"""TESS: two women (OAF is 64 years old, YAF 26), 200 words, seven emotions, 2,800 files.

Names are `SPEAKER_word_emotion.wav`; pleasant surprise is `ps`. Known oddities: the Kaggle copy
holds the whole folder nested in itself, one file is at 96 kHz, two are AIFF under a .wav name, and
`OA_bite_neutral.wav` is a typo for OAF.
"""

import re
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Utterance
from ser.corpora.emotions import Emotion

NAME = re.compile(r"(OAF|OA|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)\.wav", re.I)
EMOTIONS = {
    "angry": Emotion.ANGRY,
    "disgust": Emotion.DISGUST,
    "fear": Emotion.FEAR,
    "happy": Emotion.HAPPY,
    "neutral": Emotion.NEUTRAL,
    "ps": Emotion.SURPRISE,
    "sad": Emotion.SAD,
}

AGES = {"OAF": "64", "YAF": "26"}


def parse(path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None:
        raise ValueError("not SPEAKER_word_emotion.wav")
    prefix, word, emotion = fields[1].upper(), fields[2].lower(), fields[3].lower()
    speaker = "OAF" if prefix == "OA" else prefix
    return Utterance(
        id=f"{speaker}_{word}_{emotion}",
        speaker=speaker,
        gender="female",
        emotion=EMOTIONS[emotion],
        sentence=word,
        age=AGES[speaker],
        note="" if prefix == speaker else "speaker OA read as OAF",
    )


CORPUS = Corpus(
    name="tess",
    title="TESS",
    handles=("ejlok1/toronto-emotional-speech-set-tess",),
    files=2800,
    example="OAF_Fear/OAF_back_fear.wav",
    licence="CC BY-NC-ND 4.0",
    citation="M. K. Pichora-Fuller and K. Dupuis (2020), doi:10.5683/SP2/E8H2MF",
    parse=parse,
)
