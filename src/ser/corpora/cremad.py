"""CREMA-D: 91 actors, 12 sentences, six emotions, 7,442 files.

Names are `ACTOR_SENTENCE_EMOTION_LEVEL.wav`. Known oddities: three byte-identical pairs carry
different labels, one clip is silent, old mirrors hold `1040_ITH_SAD_X.wav` (level `X` for `XX`),
and a plain GitHub download holds Git LFS pointers where the audio should be.
"""

import csv
import re
from pathlib import Path, PurePath

from ser.corpora.corpus import Corpus, Utterance
from ser.labels import Emotion

NAME = re.compile(
    r"(10[0-8]\d|109[01])_(DFA|IEO|IOM|ITH|ITS|IWL|IWW|MTI|TAI|TIE|TSI|WSI)"
    r"_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)\.wav",
    re.I,
)
EMOTIONS = {
    "ANG": Emotion.ANGRY,
    "DIS": Emotion.DISGUST,
    "FEA": Emotion.FEAR,
    "HAP": Emotion.HAPPY,
    "NEU": Emotion.NEUTRAL,
    "SAD": Emotion.SAD,
}
HEARD = {code[0]: emotion for code, emotion in EMOTIONS.items()}  # as `summaryTable.csv` has them
WOMEN = frozenset(
    "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030"
    " 1037 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075"
    " 1076 1078 1079 1082 1084 1089 1091".split()
)


def parse(path: PurePath) -> Utterance:
    fields = NAME.fullmatch(path.name)
    if fields is None or fields[1] == "1000":
        raise ValueError("not ACTOR_SENTENCE_EMOTION_LEVEL.wav")
    actor, sentence, emotion, level = (field.upper() for field in fields.groups())
    note = "level X read as XX" if level == "X" else ""
    return Utterance(
        id="_".join([actor, sentence, emotion, "XX" if level == "X" else level]),
        speaker=actor,
        gender="female" if actor in WOMEN else "male",
        emotion=EMOTIONS[emotion],
        sentence=sentence,
        note=note,
    )


def read_votes(path: Path) -> dict[str, tuple[Emotion, ...]]:
    """What most listeners heard in the voice alone, from the corpus's own `summaryTable.csv`.

    The table states the winners only. Raises ValueError where it is another table.
    """
    votes = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                utterance = parse(PurePath(f"{row['FileName']}.wav"))
                winners = tuple(HEARD[letter] for letter in row["VoiceVote"].split(":"))
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"data.votes.cremad={path}, row {number}, is not as in CREMA-D's"
                    f" summaryTable.csv ({error}): FileName and VoiceVote are needed"
                ) from error
            votes[utterance.id] = winners
    return votes


CORPUS = Corpus(
    name="cremad",
    title="CREMA-D",
    handles=("ejlok1/cremad",),
    files=7442,
    licence="Open Database License (ODbL) 1.0",
    citation="H. Cao et al. (2014), IEEE Trans. Affective Computing 5(4): 377-390",
    parse=parse,
    read_votes=read_votes,
)
