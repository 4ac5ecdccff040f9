"""CREMA-D: 91 actors, 12 sentences, six emotions, 7,442 files.

Names are `ACTOR_SENTENCE_EMOTION_LEVEL.wav`. Known oddities: three byte-identical pairs carry
different labels, one clip is silent, old mirrors hold `1040_ITH_SAD_X.wav` (level `X` for `XX`),
and a plain GitHub download holds Git LFS pointers instead of audio.
"""

import re
from pathlib import Path, PurePath

from ser.corpora.annotations import read_rows
from ser.corpora.corpus import Corpus, Fold, Utterance
from ser.corpora.emotions import Emotion
from ser.errors import UserError

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
VOTES = {code[0]: emotion for code, emotion in EMOTIONS.items()}  # the letters of summaryTable.csv
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high"}
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
        intensity=INTENSITIES.get(level, ""),
        note=note,
    )


def read_votes(path: Path) -> dict[str, tuple[str, ...]]:
    """The emotions with the most votes for the voice alone, from the corpus's `summaryTable.csv`.

    The table lists the winners only. Raises UserError, which names the row, for another table.
    """
    votes = {}
    for number, row in read_rows(path, ("FileName", "VoiceVote")).items():
        try:
            utterance = parse(PurePath(f"{row['FileName']}.wav"))
            votes[utterance.id] = tuple(VOTES[letter] for letter in row["VoiceVote"].split(":"))
        except (KeyError, ValueError) as error:
            raise UserError(
                f"data.votes.cremad={path}, row {number}: not CREMA-D's summaryTable.csv ({error})"
            ) from error
    return votes


def read_demographics(path: Path) -> dict[str, dict[str, str]]:
    """Age, race and ethnicity of each actor, from the corpus's `VideoDemographics.csv`.

    Raises UserError, which names the row, for another table.
    """
    actors: dict[str, dict[str, str]] = {}
    columns = {"age": "Age", "race": "Race", "ethnicity": "Ethnicity"}
    for number, row in read_rows(path, ("ActorID", *columns.values())).items():
        actor, age = row["ActorID"].strip(), row["Age"].strip()
        if not (re.fullmatch(r"\d{4}", actor) and re.fullmatch(r"\d{1,2}", age)):
            raise UserError(
                f"data.demographics.cremad={path}, row {number}: not CREMA-D's"
                f" VideoDemographics.csv (actor {actor[:20]!r}, age {age[:20]!r})"
            )
        stated = {ours: row[theirs].strip().lower() for ours, theirs in columns.items()}
        known = {ours: "" if value == "unknown" else value for ours, value in stated.items()}
        if actors.setdefault(actor, known) != known:
            raise UserError(
                f"data.demographics.cremad={path}, row {number}: actor {actor} is described before,"
                " in another way"
            )
    return actors


def block(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(actor) for actor in range(first, last + 1))


BLOCKS = (block(1001, 1018), block(1019, 1036), block(1037, 1054), block(1055, 1072),
          block(1073, 1091))  # fmt: skip
FOLDS = {
    # EMO-SUPERB (Wu et al. 2024): fold k tests block k and validates on block k + 1.
    "emo_superb": tuple(
        Fold(test, val) for test, val in zip(BLOCKS, (*BLOCKS[1:], BLOCKS[0]), strict=True)
    ),
    # TensorFlow Datasets, crema_d: one split by speaker, without four of the files.
    "tfds": (
        Fold(
            test=tuple(
                "1010 1013 1022 1026 1037 1038 1040 1045 1047 1048 1059 1065 1066 1068 1071 1073"
                " 1084 1086 1088".split()
            ),
            val=tuple("1015 1020 1021 1030 1050 1070 1079 1089 1090".split()),
            excluded=("1040_ITH_SAD_XX", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"),
        ),
    ),
}
CORPUS = Corpus(
    name="cremad",
    title="CREMA-D",
    handles=("ejlok1/cremad",),
    files=7442,
    example="AudioWAV/1001_DFA_ANG_XX.wav",
    licence="Open Database License (ODbL) 1.0",
    citation="H. Cao et al. (2014), IEEE Trans. Affective Computing 5(4): 377-390",
    parse=parse,
    read_votes=read_votes,
    read_demographics=read_demographics,
    folds=FOLDS,
)
