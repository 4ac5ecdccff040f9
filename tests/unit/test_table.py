from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.cache import AudioCache
from ser.data_config import DataConfig
from ser.manifest import Manifest
from ser.preparation import build, prepare


@pytest.fixture
def table(tmp_path, write_tone):
    """Write a table of these rows, and a recording for each file that is not there."""

    def table(text: str, name: str = "my.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        for pitch in range(9):
            if not (tmp_path / f"{pitch}.wav").exists():
                write_tone(tmp_path / f"{pitch}.wav", pitch=100 + 50 * pitch, seconds=1.0)
        return path

    return table


@pytest.fixture
def read(tmp_path):
    def read(path: Path, **settings) -> Manifest:
        data = DataConfig(corpora=[], table=str(path), **settings)
        return build(data, AudioCache(tmp_path / "cache"))

    return read


def test_path_and_emotion_are_enough(table, read):
    built = read(table("path,emotion\n0.wav,happy\n1.wav,SAD\n"))
    found = built.utterances
    assert found["id"].tolist() == ["my/0.wav", "my/1.wav"]
    assert found["emotion"].tolist() == ["happy", "sad"]
    assert found["corpus"].tolist() == ["my", "my"]
    assert found["speaker"].tolist() == ["", ""]
    assert found["seconds"].tolist() == [1.0, 1.0]


def test_all_columns_are_read(table, read):
    text = (
        "Path, Emotion, speaker, gender, sentence, split, corpus, perceived, agreement, note\n"
        "0.wav, happy, anna, female, hello, test, lab, happy:sad, 0.5, ignored\n"
    )
    [row] = read(table(text)).utterances.to_dict("records")
    expected = {
        "id": "lab/0.wav", "speaker": "lab/anna", "gender": "female", "sentence": "hello",
        "split": "test", "corpus": "lab", "perceived": "happy:sad", "agreement": 0.5,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_parts_of_one_file_are_utterances_of_their_own(table, read, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    text = "path,emotion,start,end\nlong.wav,sad,0,1\nlong.wav,sad,1,2.5\nlong.wav,happy,2.5,\n"
    found = read(table(text)).utterances
    assert found["seconds"].tolist() == [1.0, 1.5, 0.5]
    assert found["id"].tolist() == [
        "my/long.wav#0-1",
        "my/long.wav#1-2.5",
        "my/long.wav#2.5-",
    ]


def test_labels_are_mapped_and_left_out(table, read):
    text = "path,emotion\n0.wav,Anger\n1.wav,boredom\n2.wav,joy\n"
    built = read(table(text), label_map={"anger": "angry", "boredom": None, "joy": "happy"})
    assert built.utterances["emotion"].tolist() == ["angry", "happy"]
    [dropped] = built.dropped.to_dict("records")
    assert dropped["reason"] == "left_out"
    assert dropped["detail"] == "data.label_map leaves out boredom"


def test_classes_beyond_the_eight_can_be_named(table, read):
    text = "path,emotion\n0.wav,bored\n1.wav,happy\n"
    built = read(table(text), labels=["bored", "happy"])
    assert built.utterances["emotion"].tolist() == ["bored", "happy"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path\n0.wav\n", "no column 'emotion', only path"),
        ("path,emotion\n", "has no rows"),
        ("path,emotion\n0.wav,happy\n1.wav,boredom\n", r"row 3: emotion 'boredom' is none of"),
        ("path,emotion\n0.wav,x\n1.wav,y\n", r"row 2: emotion 'x' is none of .*\(nor is 'y'\)"),
        ("path,emotion\n0.wav,x\n1.wav,x\n", r"row 2, as in 1 other rows: emotion 'x'"),
        ("path,emotion,end\n0.wav,sad,inf\n", r"end inf is no number of seconds"),
        ('path,emotion\n"a\rb.wav",sad\n', r"row 2: path .* holds a line break"),
        ("path,emotion\n0.wav,\n", r"row 2: emotion '' is none of"),
        ("path,emotion\n,happy\n", "row 2: path is empty"),
        ("path,emotion,split\n0.wav,sad,dev\n", r"row 2: split 'dev' is none of train, val, test"),
        ("path,emotion,start\n0.wav,sad,soon\n", "row 2: start soon is no number"),
        ("path,emotion,start\n0.wav,sad,-1\n", r"row 2: start -1.0 is before"),
        ("path,emotion,start,end\n0.wav,sad,2,1\n", r"row 2: end 1.0 is not after start 2.0"),
        ("path,emotion,agreement\n0.wav,sad,70\n", r"row 2: agreement 70.0 is not from 0 to 1"),
        ("path,emotion,perceived\n0.wav,sad,sad:mad\n", r"row 2: perceived 'sad:mad' is none of"),
        ('path,emotion\n"0.wav,sad\n', "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(table, read, text, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        read(table(text))
    assert "my.csv" in str(caught.value)


def test_a_file_that_is_missing_is_dropped_and_counted(table, read):
    built = read(table("path,emotion\n0.wav,happy\n1.wav,sad\ngone.wav,sad\n"))
    assert built.dropped["reason"].tolist() == ["unreadable"]
    with pytest.raises(ValueError, match=r"none of the 1 files of my can be used.*gone\.wav"):
        read(table("path,emotion\ngone.wav,sad\n"))


def test_a_part_beyond_the_end_is_dropped_with_its_reason(table, read):
    built = read(table("path,emotion,start,end\n0.wav,sad,0,0.5\n0.wav,sad,0.5,5\n"))
    assert built.dropped["reason"].tolist() == ["out_of_range"]


def test_one_file_under_two_labels_is_dropped_whole(table, read):
    built = read(table("path,emotion\n0.wav,happy\n0.wav,sad\n1.wav,sad\n1.wav,sad\n"))
    assert built.utterances["id"].tolist() == ["my/1.wav"]
    assert sorted(built.dropped["reason"]) == ["label_conflict", "label_conflict", "mirror"]


def test_tabs_and_byte_order_marks_are_read(table, read):
    built = read(table("\ufeffpath\temotion\n0.wav\tsad\n1.wav\thappy\n", name="my.tsv"))
    assert len(built.utterances) == 2


def test_a_table_is_mixed_with_a_corpus_and_split_by_its_own_column(table, tmp_path, write_tone):
    rows = [
        f"{row}.wav,{emotion},{part}"
        for row, (emotion, part) in enumerate(
            (emotion, part) for part in ("train", "val", "test") for emotion in ("happy", "sad")
        )
    ]
    path = table("\n".join(["path,emotion,split", *rows]))
    for pitch, name in enumerate(("OAF_back_sad", "OAF_back_happy"), start=900):
        write_tone(tmp_path / f"t/{name}.wav", pitch=pitch)
    data = DataConfig(
        corpora=["tess"], paths={"tess": str(tmp_path / "t")}, table=str(path),
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    from ser.data_config import SplitConfig, SplitKind

    with pytest.raises(ValueError, match=r"2 of 8 utterances have no split .* tess/OAF"):
        prepare(data, SplitConfig(kind=SplitKind.table))
    data.corpora = []
    done = prepare(data, SplitConfig(kind=SplitKind.table)).utterances
    assert done["split"].tolist() == ["train", "train", "val", "val", "test", "test"]


def test_what_listeners_heard_can_filter_or_replace_the_label(table, read):
    text = (
        "path,emotion,perceived,agreement\n"
        "0.wav,happy,happy,\n1.wav,happy,sad,\n2.wav,happy,happy:sad,\n3.wav,sad,,\n4.wav,sad,sad,0.4\n"
    )
    kept = read(table(text)).utterances
    assert kept["agreement"].fillna(-1).tolist() == [1.0, 0.0, 0.5, -1.0, 0.4]
    dropped = read(table(text), ambiguous="drop").utterances
    assert dropped["id"].tolist() == ["my/0.wav", "my/3.wav"]
    half = read(table(text), ambiguous="drop", min_agreement=0.5)
    assert half.utterances["id"].tolist() == ["my/0.wav", "my/2.wav", "my/3.wav"]
    assert half.dropped["reason"].tolist() == ["ambiguous", "ambiguous"]
    heard = read(table(text), label_by="perceived")
    assert heard.utterances["emotion"].tolist() == ["happy", "sad", "sad", "sad"]
    assert heard.dropped["detail"].tolist() == ["heard as happy:sad, agreement 0.5"]


def test_what_is_left_out_of_the_labels_was_still_heard(table, read):
    text = "path,emotion,perceived\n0.wav,happy,bored\n1.wav,sad,sad\n2.wav,happy,happy:bored\n"
    settings = {"label_map": {"bored": None}}
    assert read(table(text), **settings).utterances["agreement"].tolist() == [0.0, 1.0, 0.5]
    heard = read(table(text), label_by="perceived", **settings)
    assert heard.utterances["id"].tolist() == ["my/1.wav"]
    assert heard.dropped["reason"].tolist() == ["left_out", "ambiguous"]
