"""MSP-Podcast: spontaneous speech from podcasts, labelled by listeners, with published parts.

Not tried on the real audio: written from the documented layout, `Audios/MSP-PODCAST_0001_0008.wav`
with `Labels/labels_consensus.csv` (`labels_concensus.csv` in older releases). Part Test1 is the
test part. Test2 belongs to no part, and Test3 has no published labels.
"""

from functools import partial
from pathlib import Path, PurePath

from ser.corpora.annotations import read_rows
from ser.corpora.corpus import Corpus, Parser, Utterance
from ser.corpora.emotions import Emotion
from ser.errors import UserError

EMOTIONS = {
    "A": Emotion.ANGRY,
    "H": Emotion.HAPPY,
    "S": Emotion.SAD,
    "N": Emotion.NEUTRAL,
    "U": Emotion.SURPRISE,
    "F": Emotion.FEAR,
    "D": Emotion.DISGUST,
    "C": "contempt",
    "O": "other",
    "X": "no_agreement",
}
PARTS = {"train": "train", "development": "val", "validation": "val", "test1": "test"}
Rows = dict[str, dict[str, str]]


def read_annotations(folder: Path) -> Parser:
    files = sorted(folder.rglob("labels_con[sc]ensus.csv"))
    if not files:
        raise UserError(f"data.paths.msp_podcast={folder}: no Labels/labels_consensus.csv")
    rows = read_rows(files[0], ("FileName", "EmoClass")).values()
    return partial(parse, {row["FileName"]: row for row in rows})


def parse(rows: Rows, path: PurePath) -> Utterance:
    row = rows.get(path.name)
    if row is None:
        raise ValueError("no row in labels_consensus.csv")
    if row["EmoClass"] not in EMOTIONS:
        raise ValueError(f"unknown class {row['EmoClass']!r}")
    speaker, gender = row.get("SpkrID") or "", (row.get("Gender") or "").lower()
    return Utterance(
        id=path.stem,
        speaker="" if speaker.lower() == "unknown" else speaker,
        gender=gender if gender in ("male", "female") else "",
        emotion=str(EMOTIONS[row["EmoClass"]]),
        sentence="",
        split=PARTS.get((row.get("Split_Set") or "").lower(), "unused"),
    )


CORPUS = Corpus(
    name="msp_podcast",
    title="MSP-Podcast",
    homepage="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    example="Audios/MSP-PODCAST_0001_0008.wav",
    licence="research use, by agreement with the University of Texas at Dallas",
    citation="R. Lotfian and C. Busso (2019), IEEE Trans. Affective Computing 10(4): 471-483",
    read_annotations=read_annotations,
)
