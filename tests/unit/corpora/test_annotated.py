"""Corpora whose labels are in files of their own, on copies made from their documentation."""

from collections import Counter
from pathlib import Path

import pytest

from ser.config.data import DataConfig
from ser.config.split import SplitConfig, SplitKind
from ser.corpora import CORPORA
from ser.errors import UserError
from ser.preparation.prepare import prepare
from ser.preparation.scan import scan_corpus

TURNS = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_F001\texc\t[2.5000, 2.5000, 2.5000]
[14.8872 - 18.0175]\tSes01F_impro01_M000\txxx\t[2.5000, 2.5000, 2.5000]
[27.4600 - 31.4900]\tSes01F_script01_1_MXX3\tang\t[2.0000, 3.5000, 3.5000]
"""


@pytest.fixture
def iemocap(tmp_path, write_tone) -> Path:
    session = tmp_path / "IEMOCAP_full_release" / "Session1"
    for folder in ("dialog/EmoEvaluation/Categorical", "dialog/transcriptions"):
        (session / folder).mkdir(parents=True)
    (session / "dialog/EmoEvaluation/Ses01F_impro01.txt").write_text(TURNS)
    (session / "dialog/EmoEvaluation/._Ses01F_impro01.txt").write_bytes(b"\xff\x00 resource fork")
    (session / "dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt").write_text(
        "Ses01F_impro01_F000 :Sadness; ()\n"
    )
    (session / "dialog/transcriptions/Ses01F_impro01.txt").write_text(
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
    )
    names = ["F_impro01/Ses01F_impro01_F000", "F_impro01/Ses01F_impro01_F001", "F_impro01/Ses01F_impro01_M000",
             "F_script01_1/Ses01F_script01_1_MXX3", "F_impro01/Ses01F_impro01_F009"]  # fmt: skip
    for number, name in enumerate(names):
        write_tone(session / f"sentences/wav/Ses01{name}.wav", pitch=200 + 50 * number)
    write_tone(session / "dialog/wav/Ses01F_impro01.wav", pitch=900)
    return tmp_path


def test_iemocap_turns_have_labels_speakers_and_words(iemocap):
    found = scan_corpus(CORPORA["iemocap"], iemocap)
    table = found.utterances.set_index("id")
    assert table["intended"].to_dict() == {
        "iemocap/Ses01F_impro01_F000": "neutral",
        "iemocap/Ses01F_impro01_F001": "excited",
        "iemocap/Ses01F_impro01_M000": "no_agreement",
        "iemocap/Ses01F_script01_1_MXX3": "angry",
    }
    assert table["speaker"].tolist() == [
        "iemocap/Ses01F",
        "iemocap/Ses01F",
        "iemocap/Ses01M",
        "iemocap/Ses01M",
    ]
    assert table["gender"].tolist() == ["female", "female", "male", "male"]
    assert table["sentence"].tolist() == ["excuse me.", "", "", ""]
    wavs = [Path(path).name for path in found.dropped["path"] if path.endswith(".wav")]
    assert sorted(wavs) == ["Ses01F_impro01.wav", "Ses01F_impro01_F009.wav"]


@pytest.fixture
def msp_podcast(tmp_path, write_tone) -> Path:
    rows = [
        "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set",
        "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Train",
        "MSP-PODCAST_0001_0009.wav,H,3.7,3.5,3.7,39,Female,Development",
        "MSP-PODCAST_0001_0011.wav,A,4.1,4.7,4.0,Unknown,Unknown,Test1",
        "MSP-PODCAST_0001_0013.wav,U,4.1,4.7,4.0,39,Male,Test2",
        "MSP-PODCAST_0001_0014.wav,C,4.1,4.7,4.0,39,Male,Train",
        "MSP-PODCAST_0001_0015.wav,X,4.1,4.7,4.0,39,Male,Train",
    ]
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Labels/labels_consensus.csv").write_text("\n".join(rows))
    for number in (8, 9, 11, 13, 14, 15, 99):
        write_tone(tmp_path / f"Audios/MSP-PODCAST_0001_{number:04}.wav", pitch=100 + 30 * number)
    return tmp_path


def test_msp_podcast_has_labels_speakers_and_parts(msp_podcast):
    found = scan_corpus(CORPORA["msp_podcast"], msp_podcast)
    table = found.utterances
    assert table["intended"].tolist() == [
        "neutral",
        "happy",
        "angry",
        "surprise",
        "contempt",
        "no_agreement",
    ]
    assert table["speaker"].tolist()[:3] == ["msp_podcast/30", "msp_podcast/39", ""]
    assert table["gender"].tolist()[:3] == ["male", "female", ""]
    assert table["split"].tolist()[:4] == ["train", "val", "test", "unused"]
    assert any(path.endswith("_0099.wav") for path in found.dropped["path"])


def test_older_releases_of_msp_podcast_are_read(msp_podcast):
    labels = msp_podcast / "Labels"
    (labels / "labels_consensus.csv").rename(labels / "labels_concensus.csv")
    assert len(scan_corpus(CORPORA["msp_podcast"], msp_podcast).utterances) == 6


HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


@pytest.fixture
def meld(tmp_path, write_tone) -> Path:
    tables = {
        "train": [
            '1,"Oh, hi.",Rachel,joy,positive,0,0,1,1,"0:0:1,1","0:0:2,1"',
            "2,No.,Ross,sadness,negative,0,1,1,1,x,y",
        ],
        "dev": ["1,Yes.,Ross,joy,positive,0,0,1,1,x,y", "2,No.,Joey,sadness,negative,0,1,1,1,x,y"],
        "test": [
            "1,Wow.,Joey,joy,positive,0,0,1,1,x,y",
            "2,Oh.,Rachel,sadness,negative,0,1,1,1,x,y",
        ],
    }
    folders = {
        "train": "train/train_splits",
        "dev": "dev/dev_splits_complete",
        "test": "test/output_repeated_splits_test",
    }
    number = 0
    for part, rows in tables.items():
        (tmp_path / f"{part}_sent_emo.csv").write_text("\n".join([HEADER, *rows]))
        for name in ("dia0_utt0", "dia0_utt1", "dia9_utt9", "final_videos_testdia0_utt0"):
            number += 1
            write_tone(tmp_path / folders[part] / f"{name}.wav", pitch=100 + 40 * number)
    return tmp_path


def test_meld_parts_come_from_the_folder_and_rows_from_its_table(meld):
    found = scan_corpus(CORPORA["meld"], meld)
    table = found.utterances.set_index("id").sort_index()
    assert table["intended"].tolist() == ["happy", "sad"] * 3
    assert table["speaker"].tolist() == [
        f"meld/{who}" for who in ("Ross", "Joey", "Joey", "Rachel", "Rachel", "Ross")
    ]
    assert table["sentence"]["meld/train_dia0_utt0"] == "oh, hi."
    assert Counter(table["split"]) == {"train": 2, "val": 2, "test": 2}
    assert len([path for path in found.dropped["path"] if path.endswith(".wav")]) == 6


def test_published_parts_are_a_split(meld, tmp_path):
    data = DataConfig(
        corpora=["meld"], paths={"meld": str(meld)}, labels=["happy", "sad"],
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    done = prepare(data, SplitConfig(kind=SplitKind.table)).utterances
    assert done["split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}


def test_utterances_of_a_published_corpus_without_a_part_are_dropped(tmp_path, write_tone):
    rows = ["FileName,EmoClass,SpkrID,Gender,Split_Set"]
    parts = ("Train", "Development", "Test1", "Test2")
    for number, (part, code) in enumerate((part, code) for part in parts for code in "NH"):
        write_tone(tmp_path / f"Audios/MSP-PODCAST_0001_{number:04}.wav", pitch=100 + 30 * number)
        rows.append(f"MSP-PODCAST_0001_{number:04}.wav,{code},{number},Male,{part}")
    (tmp_path / "labels_consensus.csv").write_text("\n".join(rows))
    data = DataConfig(
        corpora=["msp_podcast"], paths={"msp_podcast": str(tmp_path)}, labels=["neutral", "happy"],
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    done = prepare(data, SplitConfig(kind=SplitKind.table))
    assert done.utterances["split"].tolist() == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    left_out = done.dropped[done.dropped["reason"] == "not_in_split"]["id"].tolist()
    assert left_out == ["msp_podcast/MSP-PODCAST_0001_0006", "msp_podcast/MSP-PODCAST_0001_0007"]


@pytest.mark.parametrize(
    ("name", "file"),
    [("meld", "train_sent_emo.csv"), ("msp_podcast", "Labels/labels_consensus.csv")],
)
def test_annotations_without_a_needed_column_are_refused(tmp_path, name, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("Speaker,Emotion\nRoss,joy\n")
    with pytest.raises(UserError, match=file):
        scan_corpus(CORPORA[name], tmp_path)


@pytest.mark.parametrize("name", ["iemocap", "meld", "msp_podcast"])
def test_missing_annotations_are_named(tmp_path, name):
    with pytest.raises(UserError, match=rf"data\.paths\.{name}="):
        scan_corpus(CORPORA[name], tmp_path)


def test_emodb_leaves_boredom_out_unless_it_is_a_class(tmp_path, write_tone):
    for number, speaker in enumerate(("03", "08", "09", "10")):
        for code, pitch in (("F", 100), ("W", 300), ("L", 500)):
            write_tone(tmp_path / f"wav/{speaker}a01{code}a.wav", pitch=pitch + 20 * number)
    settings = {
        "corpora": ["emodb"],
        "paths": {"emodb": str(tmp_path / "wav")},
        "cache_dir": str(tmp_path / "c"),
    }
    split = SplitConfig(kind=SplitKind.speaker)
    done = prepare(DataConfig(**settings, labels=["happy", "angry"]), split)
    assert done.dropped["reason"].tolist() == ["left_out"] * 4
    done = prepare(DataConfig(**settings, labels=["happy", "angry", "boredom"]), split)
    assert set(done.utterances["emotion"]) == {"happy", "angry", "boredom"}
    done = prepare(
        DataConfig(**settings, labels=["happy", "angry"], merge={"boredom": "angry"}), split
    )
    assert done.dropped.empty
