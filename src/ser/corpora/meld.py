"""MELD: 13,708 utterances of the TV series Friends, in video files, with published parts.

Not tried on the real audio: written from the published tables `train_sent_emo.csv`,
`dev_sent_emo.csv` and `test_sent_emo.csv` and the documented folders `train_splits`,
`dev_splits_complete` and `output_repeated_splits_test`. Dialogue numbers repeat across the parts,
so the folder decides. Speakers are in several parts.
"""

import re
from functools import partial
from pathlib import Path, PurePath

from ser.corpora.annotations import read_rows
from ser.corpora.corpus import Corpus, Parser, Utterance
from ser.corpora.emotions import Emotion
from ser.errors import UserError

NAME = re.compile(r"dia(\d+)_utt(\d+)")
SUFFIXES = (".mp4", ".wav", ".flac")
COLUMNS = ("Dialogue_ID", "Utterance_ID", "Emotion", "Speaker", "Utterance")
PARTS = {"train": "train", "dev": "val", "test": "test"}
EMOTIONS = {
    "neutral": Emotion.NEUTRAL,
    "joy": Emotion.HAPPY,
    "sadness": Emotion.SAD,
    "anger": Emotion.ANGRY,
    "fear": Emotion.FEAR,
    "disgust": Emotion.DISGUST,
    "surprise": Emotion.SURPRISE,
}
Rows = dict[tuple[str, str, str], dict[str, str]]


def read_annotations(folder: Path) -> Parser:
    rows: Rows = {}
    for part in PARTS:
        for file in sorted(folder.rglob(f"{part}_sent_emo.csv"))[:1]:
            for row in read_rows(file, COLUMNS).values():
                rows[part, row["Dialogue_ID"], row["Utterance_ID"]] = row
    if not rows:
        raise UserError(
            f"data.paths.meld={folder}: no train_sent_emo.csv, dev_sent_emo.csv or"
            " test_sent_emo.csv; copy them from the repository of the corpus"
        )
    return partial(parse, rows)


def parse(rows: Rows, path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.stem)
    if fields is None or path.suffix.lower() not in SUFFIXES:
        raise ValueError("not diaN_uttN.mp4")
    part = find_part(path)
    row = rows.get((part, fields[1], fields[2]))
    if row is None:
        raise ValueError(f"no row in {part}_sent_emo.csv")
    if row["Emotion"].lower() not in EMOTIONS:
        raise ValueError(f"unknown emotion {row['Emotion']!r}")
    return Utterance(
        id=f"{part}_{path.stem}",
        speaker=row["Speaker"].strip(),
        gender="",
        emotion=EMOTIONS[row["Emotion"].lower()],
        sentence=row["Utterance"].strip().casefold(),
        split=PARTS[part],
    )


def find_part(path: PurePath) -> str:
    """The part that the nearest folder names."""
    for folder in reversed(path.parts[:-1]):
        for part in PARTS:
            if re.search(rf"(^|[^a-z]){part}([^a-z]|$)", folder.lower()):
                return part
    raise ValueError("no folder named after the part: train, dev or test")


CORPUS = Corpus(
    name="meld",
    title="MELD",
    homepage="https://affective-meld.github.io",
    files=13_708,
    example="train/train_splits/dia0_utt0.mp4",
    licence="GPL-3.0 for the labels; the audio is from a TV series, for research use",
    citation="S. Poria et al. (2019), Proc. ACL, 527-536",
    read_annotations=read_annotations,
)
