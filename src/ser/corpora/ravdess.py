"""RAVDESS: 24 actors, 1,440 speech files (one is a byte-identical duplicate), 1,012 song files.

Names are seven two-digit fields: modality, vocal channel, emotion, intensity, statement,
repetition, actor. Odd actors are male, even ones female. Known oddities: the Kaggle copy holds
every file twice (`Actor_*/` and `audio_speech_actors_01-24/Actor_*/`), five files are stereo, and
Actor_07 has one recording under two repetitions.
"""

import re
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import PurePath

from ser.corpora.corpus import Corpus, Utterance, fold_speakers
from ser.corpora.emotions import Emotion

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
INTENSITIES = {"01": "normal", "02": "strong"}
CHANNELS = {"01": "speech", "02": "song"}


class Channel(StrEnum):
    speech = "speech"
    song = "song"
    both = "both"


def parse(path: PurePath, channel: Channel = Channel.speech) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None:
        raise ValueError("not MM-VC-EM-IN-ST-RE-AC.wav")
    modality, code, emotion, intensity, statement, _, actor = fields.groups()
    if modality != "03" or code not in CHANNELS:
        raise ValueError(f"modality {modality}, channel {code}: not audio-only speech or song")
    if channel not in (CHANNELS[code], Channel.both):
        raise ValueError(f"{CHANNELS[code]}, but data.ravdess_channel={channel}")
    if emotion == "01" and intensity == "02":
        raise ValueError("neutral has no strong intensity")
    return Utterance(
        id=path.stem,
        speaker=actor,
        gender="male" if int(actor) % 2 else "female",
        emotion=EMOTIONS[emotion],
        sentence=statement,
        intensity=INTENSITIES[intensity],
    )


FOLDS = {
    # Ma et al. (2024), EmoBox, Interspeech: six folds.
    "emobox": fold_speakers(
        "01 11 20 21, 04 10 12 14, 08 09 19 23, 03 05 07 24, 02 15 16 18, 06 13 17 22"
    ),
    # Luna-Jimenez et al. (2021), Sensors 21(22): 7665: five folds.
    "luna_jimenez": fold_speakers(
        "02 05 14 15 16, 03 06 07 13 18, 10 11 12 19 20, 08 17 21 23 24, 01 04 09 22"
    ),
}
CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS (speech)",
    handles=("uwrfkaggler/ravdess-emotional-speech-audio",),
    homepage="https://zenodo.org/records/1188976",
    files=1440,
    example="Actor_12/03-01-06-01-02-01-12.wav",
    licence="CC BY-NC-SA 4.0",
    citation="S. R. Livingstone and F. A. Russo (2018), PLoS ONE 13(5): e0196391",
    parse=parse,
    folds=FOLDS,
)
SONG_FILES = 1012


def select(channel: Channel) -> Corpus:
    """The corpus restricted to a vocal channel. Kaggle's dataset holds the speech files only."""
    if channel == Channel.speech:
        return CORPUS
    both = channel == Channel.both
    return replace(
        CORPUS,
        title="RAVDESS (speech and song)" if both else "RAVDESS (song)",
        handles=(),
        files=SONG_FILES + CORPUS.files if both else SONG_FILES,
        example=f"Actor_12/03-{'01' if both else '02'}-06-01-02-01-12.wav",
        parse=partial(parse, channel=channel),
    )
