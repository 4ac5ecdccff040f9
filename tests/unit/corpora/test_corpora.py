from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from ser.corpora import CORPORA, Utterance, cremad, ravdess
from ser.corpora.emotions import LABELS, Emotion


def parse(corpus: str, path: str) -> Utterance:
    parser = CORPORA[corpus].parse
    assert parser is not None
    return parser(PurePosixPath(path))


def test_label_order_is_fixed():
    assert LABELS == ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise", "calm")


@pytest.mark.parametrize(
    ("corpus", "path", "identity", "speaker", "gender", "emotion"),
    [
        ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "03-01-01-01-01-01-01", "01", "male", "neutral"),
        ("ravdess", "a/Actor_24/03-01-02-02-02-02-24.wav", "03-01-02-02-02-02-24", "24", "female", "calm"),
        ("ravdess", "03-01-03-01-01-01-02.WAV", "03-01-03-01-01-01-02", "02", "female", "happy"),
        ("ravdess", "03-01-04-01-01-01-03.wav", "03-01-04-01-01-01-03", "03", "male", "sad"),
        ("ravdess", "03-01-05-01-01-01-03.wav", "03-01-05-01-01-01-03", "03", "male", "angry"),
        ("ravdess", "03-01-06-01-01-01-03.wav", "03-01-06-01-01-01-03", "03", "male", "fear"),
        ("ravdess", "03-01-07-01-01-01-03.wav", "03-01-07-01-01-01-03", "03", "male", "disgust"),
        ("ravdess", "03-01-08-01-01-01-03.wav", "03-01-08-01-01-01-03", "03", "male", "surprise"),
        ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav", "1001_DFA_ANG_XX", "1001", "male", "angry"),
        ("cremad", "1091_IEO_DIS_HI.wav", "1091_IEO_DIS_HI", "1091", "female", "disgust"),
        ("cremad", "1089_IEO_FEA_LO.wav", "1089_IEO_FEA_LO", "1089", "female", "fear"),
        ("cremad", "1090_IEO_HAP_MD.wav", "1090_IEO_HAP_MD", "1090", "male", "happy"),
        ("cremad", "1002_WSI_NEU_XX.wav", "1002_WSI_NEU_XX", "1002", "female", "neutral"),
        ("cremad", "1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX", "1040", "male", "sad"),
        ("tess", "OAF_Fear/OAF_back_fear.wav", "OAF_back_fear", "OAF", "female", "fear"),
        ("tess", "YAF_pleasant_surprised/YAF_bar_ps.wav", "YAF_bar_ps", "YAF", "female", "surprise"),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "OAF_bite_neutral", "OAF", "female", "neutral"),
        ("tess", "x/YAF_youth_sad.wav", "YAF_youth_sad", "YAF", "female", "sad"),
        ("tess", "x/YAF_youth_angry.wav", "YAF_youth_angry", "YAF", "female", "angry"),
        ("tess", "x/YAF_youth_disgust.wav", "YAF_youth_disgust", "YAF", "female", "disgust"),
        ("tess", "x/YAF_youth_happy.wav", "YAF_youth_happy", "YAF", "female", "happy"),
        ("savee", "ALL/JK_n01.wav", "JK_n01", "JK", "male", "neutral"),
        ("cremad", "1001_IEO_SAD_LO.wav", "1001_IEO_SAD_LO", "1001", "male", "sad"),
        ("savee", "ALL/DC_a01.wav", "DC_a01", "DC", "male", "angry"),
        ("savee", "AudioData/DC/a01.wav", "DC_a01", "DC", "male", "angry"),
        ("savee", "AudioData/KL/sa15.wav", "KL_sa15", "KL", "male", "sad"),
        ("savee", "ALL/JE_su01.wav", "JE_su01", "JE", "male", "surprise"),
        ("savee", "ALL/JK_n30.wav", "JK_n30", "JK", "male", "neutral"),
        ("savee", "ALL/JK_d02.wav", "JK_d02", "JK", "male", "disgust"),
        ("savee", "ALL/JK_f02.wav", "JK_f02", "JK", "male", "fear"),
        ("savee", "ALL/JK_h02.wav", "JK_h02", "JK", "male", "happy"),
        ("emodb", "wav/03a01Fa.wav", "03a01Fa", "03", "male", "happy"),
        ("emodb", "wav/08a02Wc.wav", "08a02Wc", "08", "female", "angry"),
        ("emodb", "13b01Lb.wav", "13b01Lb", "13", "female", "boredom"),
        ("emodb", "14a07Eb.wav", "14a07Eb", "14", "female", "disgust"),
        ("emodb", "15b10Ac.wav", "15b10Ac", "15", "male", "fear"),
        ("emodb", "16a05Tb.wav", "16a05Tb", "16", "female", "sad"),
        ("emodb", "10B03NB.WAV", "10b03Nb", "10", "male", "neutral"),
        ("esd", "0011/Neutral/0011_000350.wav", "0011_000350", "0011", "male", "neutral"),
        ("esd", "0011/Angry/train/0011_000351.wav", "0011_000351", "0011", "male", "angry"),
        ("esd", "ESD/0001/Happy/0001_001050.wav", "0001_001050", "0001", "female", "happy"),
        ("esd", "0020/Sad/0020_001051.wav", "0020_001051", "0020", "male", "sad"),
        ("esd", "0015/Surprise/test/0015_001750.wav", "0015_001750", "0015", "female", "surprise"),
    ],
)  # fmt: skip
def test_regular_names_are_parsed(corpus, path, identity, speaker, gender, emotion):
    utterance = parse(corpus, path)
    assert (utterance.id, utterance.speaker, utterance.gender, str(utterance.emotion)) == (
        identity,
        speaker,
        gender,
        emotion,
    )


@pytest.mark.parametrize(
    ("corpus", "path"),
    [
        ("ravdess", "03-02-01-01-01-01-01.wav"),  # song
        ("ravdess", "01-01-01-01-01-01-01.wav"),  # video
        ("ravdess", "03-01-01-02-01-01-01.wav"),  # neutral is never strong
        ("ravdess", "03-01-09-01-01-01-01.wav"),
        ("ravdess", "03-01-01-01-01-01-25.wav"),
        ("ravdess", "03-01-01-01-01-01-01.mp4"),
        ("ravdess", "._03-01-01-01-01-01-01.wav"),
        ("cremad", "1001_DFA_ANG_XX (1).wav"),
        ("cremad", "1092_DFA_ANG_XX.wav"),
        ("cremad", "1000_DFA_ANG_XX.wav"),
        ("cremad", "1001_DFA_SUR_XX.wav"),
        ("tess", "OAF_back_calm.wav"),
        ("tess", "XAF_back_sad.wav"),
        ("savee", "a01.wav"),
        ("savee", "AudioData/XX/a01.wav"),
        ("savee", "ALL/DC_a16.wav"),
        ("savee", "ALL/DC_n31.wav"),
        ("savee", "Info.txt"),
        ("emodb", "02a01Fa.wav"),
        ("emodb", "03a03Fa.wav"),
        ("emodb", "03a01Xa.wav"),
        ("emodb", "lablaut/03a01Faxx.lablaut"),
        ("esd", "0021/Angry/0021_000351.wav"),
        ("esd", "0011/Angry/0011_001751.wav"),
        ("esd", "0011/Angry/0011_000000.wav"),
        ("esd", "0011/Happy/0011_000351.wav"),  # the number is of the angry block
        ("esd", "0011/0011.txt"),
    ],
)
def test_other_names_are_refused(corpus, path):
    with pytest.raises(ValueError, match=r".+"):
        parse(corpus, path)


def test_repaired_names_are_noted():
    assert parse("tess", "OA_bite_neutral.wav").note
    assert parse("cremad", "1040_ITH_SAD_X.wav").note
    assert not parse("tess", "OAF_bite_neutral.wav").note


def test_ravdess_grammar_gives_the_published_class_counts():
    counts = Counter()
    for emotion in range(1, 9):
        for intensity in (1,) if emotion == 1 else (1, 2):
            for take in ("01-01", "01-02", "02-01", "02-02"):
                for actor in range(1, 25):
                    name = f"03-01-{emotion:02}-{intensity:02}-{take}-{actor:02}.wav"
                    counts[parse("ravdess", name).emotion] += 1
    assert counts[Emotion.NEUTRAL] == 96
    assert all(counts[emotion] == 192 for emotion in Emotion if emotion != Emotion.NEUTRAL)


def test_cremad_has_48_men_and_43_women():
    actors = [parse("cremad", f"{actor}_DFA_ANG_XX.wav") for actor in range(1001, 1092)]
    assert Counter(actor.gender for actor in actors) == {"male": 48, "female": 43}
    assert len(cremad.WOMEN) == 43


def test_esd_partitions_come_from_the_folder():
    parts = {"train": "train", "evaluation": "val", "test": "test"}
    for folder, part in parts.items():
        assert parse("esd", f"0011/Angry/{folder}/0011_000351.wav").split == part
    assert parse("esd", "0011/Angry/0011_000351.wav").split == ""


def test_esd_texts_are_the_same_in_every_emotion_and_differ_by_language():
    texts = [parse("esd", f"0011_{350 * block + 7:06}.wav").sentence for block in range(5)]
    assert len(set(texts)) == 1
    assert parse("esd", "0001_000007.wav").sentence != texts[0]


def test_age_and_intensity_are_parsed_where_a_corpus_states_them():
    assert parse("tess", "OAF_back_sad.wav").age == "64"
    assert parse("emodb", "03a01Fa.wav").age == "31"
    assert parse("ravdess", "03-01-03-02-01-01-01.wav").intensity == "strong"
    levels = [
        parse("cremad", f"1001_IEO_ANG_{level}.wav").intensity for level in ("LO", "MD", "HI", "XX")
    ]
    assert levels == ["low", "medium", "high", ""]


def savee_sentences() -> dict[str, str]:
    names = [f"{code}{n:02}" for code in ("a", "d", "f", "h", "sa", "su") for n in range(1, 16)]
    names += [f"n{n:02}" for n in range(1, 31)]
    return {name: parse("savee", f"ALL/DC_{name}.wav").sentence for name in names}


def test_savee_sentences_have_the_documented_groups():
    """24 clips of a speaker say a common sentence, 24 one of two emotions, 72 one of a single."""
    sentences = savee_sentences()
    codes: dict[str, set[str]] = {}
    for name, sentence in sentences.items():
        codes.setdefault(sentence, set()).add(name.rstrip("0123456789"))
    counts = Counter(len(codes[sentence]) for sentence in sentences.values())
    assert counts == {7: 24, 2: 24, 1: 72}


@pytest.mark.parametrize(
    ("first", "second"),
    [("a01", "n01"), ("a01", "su01"), ("d03", "n18"), ("a04", "n19"), ("a05", "n20"), ("d04", "n21"), ("d05", "n22"), ("f04", "n23"),
     ("f05", "n24"), ("su04", "n25"), ("su05", "n26"), ("sa04", "n27"), ("sa05", "n28"), ("h04", "n29"), ("h05", "n30")],
)  # fmt: skip
def test_savee_sentences_that_are_the_same(first, second):
    sentences = savee_sentences()
    assert sentences[first] == sentences[second]
    assert len({sentences["a06"], sentences["d06"], sentences["n06"]}) == 3


def test_ravdess_song_is_parsed_if_selected():
    song, speech = "03-02-06-02-01-01-12.wav", "03-01-06-02-01-01-12.wav"
    accepted = {}
    for channel in ravdess.Channel:
        parser = ravdess.select(channel).parser(Path())
        accepted[str(channel)] = [is_parsed(parser, name) for name in (speech, song)]
    assert accepted == {"speech": [True, False], "song": [False, True], "both": [True, True]}


def is_parsed(parser, name: str) -> bool:
    try:
        return bool(parser(PurePosixPath(name)))
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("corpus", "files", "counts"),
    [
        ("cremad", 7442, {"neutral": 1087, "happy": 1271, "sad": 1271, "angry": 1271, "fear": 1271, "disgust": 1271}),
        ("tess", 2800, dict.fromkeys(("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"), 400)),
        ("savee", 480, {"neutral": 120} | dict.fromkeys(("happy", "sad", "angry", "fear", "disgust", "surprise"), 60)),
    ],
)  # fmt: skip
def test_all_real_names_give_the_published_counts(real_audio, corpus, files, counts):
    listing = real_audio.parent / "listings" / f"{corpus}.tsv"
    if not listing.is_file():
        pytest.skip(f"no {listing.name} beside SER_REAL_AUDIO")
    names = [line.split("\t")[0] for line in listing.read_text().splitlines()]
    utterances = [parse(corpus, str(Path(name))) for name in names]
    assert len({utterance.id for utterance in utterances}) == files == CORPORA[corpus].files
    assert Counter(str(utterance.emotion) for utterance in utterances) == counts
