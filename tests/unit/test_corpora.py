from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from ser.corpora import CORPORA, cremad
from ser.labels import LABELS, Emotion


def parse(corpus: str, path: str):
    return CORPORA[corpus].parse(PurePosixPath(path))


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
    ],
)  # fmt: skip
def test_a_regular_name_says_who_speaks_and_how(corpus, path, identity, speaker, gender, emotion):
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
    ],
)
def test_a_name_off_the_grammar_is_refused(corpus, path):
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


@pytest.mark.parametrize(
    ("corpus", "files", "counts"),
    [
        ("cremad", 7442, {"neutral": 1087, "happy": 1271, "sad": 1271, "angry": 1271, "fear": 1271, "disgust": 1271}),
        ("tess", 2800, dict.fromkeys(("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"), 400)),
        ("savee", 480, {"neutral": 120} | dict.fromkeys(("happy", "sad", "angry", "fear", "disgust", "surprise"), 60)),
    ],
)  # fmt: skip
def test_every_real_name_parses_to_the_published_counts(real_audio, corpus, files, counts):
    listing = real_audio.parent / "listings" / f"{corpus}.tsv"
    if not listing.is_file():
        pytest.skip(f"{listing.name} does not lie beside the real audio")
    names = [line.split("\t")[0] for line in listing.read_text().splitlines()]
    utterances = [parse(corpus, str(Path(name))) for name in names]
    assert len({utterance.id for utterance in utterances}) == files == CORPORA[corpus].files
    assert Counter(str(utterance.emotion) for utterance in utterances) == counts
