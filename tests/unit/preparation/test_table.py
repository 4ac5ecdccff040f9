import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.audio.cache import AudioCache
from ser.config.data import DataConfig
from ser.config.split import SplitConfig, SplitKind
from ser.errors import UserError
from ser.preparation.prepare import build, prepare


def test_path_and_emotion_are_sufficient(own_table, build_table):
    built = build_table(own_table("path,emotion\n0.wav,happy\n1.wav,SAD\n"))
    found = built.utterances
    assert found["id"].tolist() == ["my/0.wav", "my/1.wav"]
    assert found["emotion"].tolist() == ["happy", "sad"]
    assert found["corpus"].tolist() == ["my", "my"]
    assert found["speaker"].tolist() == ["", ""]
    assert found["seconds"].tolist() == [1.0, 1.0]


def test_all_columns_are_read(own_table, build_table):
    text = (
        "Path, Emotion, speaker, gender, age, intensity, sentence, split, corpus, perceived, agreement, note\n"
        "0.wav, happy, anna, F, 30, strong, hello, Testing, lab, happy:sad, 0.5, ignored\n"
    )
    [row] = build_table(own_table(text)).utterances.to_dict("records")
    expected = {
        "id": "lab/0.wav", "speaker": "lab/anna", "gender": "female", "sentence": "hello",
        "split": "test", "corpus": "lab", "perceived": "happy:sad", "agreement": 0.5,
        "age": "30", "intensity": "strong",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_parts_of_a_file_are_separate_utterances(own_table, build_table, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    text = "path,emotion,start,end\nlong.wav,sad,0,1\nlong.wav,sad,1,2.5\nlong.wav,happy,2.5,\n"
    found = build_table(own_table(text)).utterances
    assert found["seconds"].tolist() == [1.0, 1.5, 0.5]
    assert found["id"].tolist() == [
        "my/long.wav#0-1",
        "my/long.wav#1-2.5",
        "my/long.wav#2.5-",
    ]


def test_labels_are_mapped_or_left_out(own_table, build_table):
    text = "path,emotion\n0.wav,Anger\n1.wav,boredom\n2.wav,joy\n"
    built = build_table(
        own_table(text), label_map={"anger": "angry", "boredom": None, "joy": "happy"}
    )
    assert built.utterances["emotion"].tolist() == ["angry", "happy"]
    [dropped] = built.dropped.to_dict("records")
    assert dropped["reason"] == "left_out"
    assert "boredom" in dropped["detail"]


def test_other_classes_than_the_eight_can_be_used(own_table, build_table):
    text = "path,emotion\n0.wav,bored\n1.wav,happy\n"
    built = build_table(own_table(text), labels=["bored", "happy"])
    assert built.utterances["emotion"].tolist() == ["bored", "happy"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path\n0.wav\n", "'emotion'"),
        ("emotion\nsad\n", "'path'"),
        ("path,emotion\n", "no rows"),
        ("", "'path'"),
        ("path,emotion\n0.wav,happy\n1.wav,boredom\n", "row 3: .*boredom"),
        ("path,emotion\n0.wav,x\n1.wav,y\n", "row 2 and 1 other row: .*'x'"),
        ("path,emotion,end\n0.wav,sad,inf\n", "row 2: .*inf"),
        ('path,emotion\n"a\rb.wav",sad\n', "row"),
        ("path,emotion\n0.wav,\n", "row 2: emotion is missing"),
        ("path,emotion\n,happy\n", "row 2: path is missing"),
        ("path,emotion\n0.wav,sad\n\n-,happy\n", "row 4: path is missing"),
        ("path,emotion,start\n0.wav,sad,soon\n", "row 2: start 'soon'"),
        ("path,emotion,start\n0.wav,sad,-1\n", "row 2: start -1.0"),
        ("path,emotion,start,end\n0.wav,sad,2,1\n", "row 2: end 1.0"),
        ("path,emotion,agreement\n0.wav,sad,70\n", "row 2: agreement 70.0"),
        ("path,emotion,perceived\n0.wav,sad,sad:mad cow\n", "row 2: perceived 'sad:mad cow'"),
        ('path,emotion\n"0.wav,sad\n1.wav,"happy"\n', "row"),
        ('path,emotion\n"0.wav,sad\n', '"0.wav does not exist'),
        ("path,emotion\n0.wav,sad,03\n1.wav,sad\n", "row 2"),
        ("path,emotion\ngone.wav,sad\n", "gone.wav.*looked up in"),
    ],
)
def test_invalid_rows_are_named_with_table_and_number(own_table, build_table, text, problem):
    with pytest.raises(UserError, match=problem) as caught:
        build_table(own_table(text))
    assert "my.csv" in str(caught.value)


def test_missing_files_are_dropped_and_counted(own_table, build_table):
    built = build_table(own_table("path,emotion\n0.wav,happy\n1.wav,sad\ngone.wav,sad\n"))
    assert built.dropped["reason"].tolist() == ["unreadable"]


def test_a_part_beyond_the_end_is_dropped(own_table, build_table):
    built = build_table(own_table("path,emotion,start,end\n0.wav,sad,0,0.5\n0.wav,sad,0.5,5\n"))
    assert built.dropped["reason"].tolist() == ["out_of_range"]


def test_a_file_with_two_labels_is_dropped(own_table, build_table):
    built = build_table(own_table("path,emotion\n0.wav,happy\n0.wav,sad\n1.wav,sad\n1.wav,sad\n"))
    assert built.utterances["id"].tolist() == ["my/1.wav"]
    assert sorted(built.dropped["reason"]) == ["label_conflict", "label_conflict", "mirror"]


def test_an_utterance_with_two_labels_is_dropped_even_if_identical_recordings_are_kept(
    own_table, build_table, tmp_path
):
    path = own_table("path,emotion\n0.wav,happy\n0.wav,sad\n1.wav,sad\n2.wav,happy\n")
    (tmp_path / "2.wav").write_bytes((tmp_path / "1.wav").read_bytes())
    built = build_table(path, deduplicate=False)
    assert built.utterances["id"].tolist() == ["my/1.wav", "my/2.wav"]
    assert built.dropped["reason"].tolist() == ["label_conflict"] * 2


def test_a_table_is_combined_with_a_corpus_and_split_by_its_column(own_table, tmp_path, write_tone):
    rows = [
        f"{row}.wav,{emotion},{part}"
        for row, (emotion, part) in enumerate(
            (emotion, part) for part in ("train", "val", "test") for emotion in ("happy", "sad")
        )
    ]
    path = own_table("\n".join(["path,emotion,split", *rows]))
    for pitch, name in enumerate(("OAF_back_sad", "OAF_back_happy"), start=900):
        write_tone(tmp_path / f"t/{name}.wav", pitch=pitch)
    data = DataConfig(
        corpora=["tess"], paths={"tess": str(tmp_path / "t")}, table=str(path),
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"2 of 8 utterances .* tess/OAF"):
        prepare(data, SplitConfig(kind=SplitKind.table))
    data.corpora = []
    done = prepare(data, SplitConfig(kind=SplitKind.table)).utterances
    assert done["split"].tolist() == ["train", "train", "val", "val", "test", "test"]


def test_every_corpus_of_a_table_has_its_origin(own_table, build_table, tmp_path):
    text = "path,emotion,corpus\n0.wav,happy,lab\n1.wav,sad,\n2.wav,bored,street\n"
    built = build_table(own_table(text, "my.table.csv"), label_map={"bored": None})
    assert sorted(built.corpora["corpus"]) == ["lab", "my.table", "street"]
    assert set(built.corpora["folder"]) == {str(tmp_path / "my.table.csv")}


def test_a_table_adds_no_second_origin_of_a_corpus(own_table, tmp_path, write_tone):
    write_tone(tmp_path / "t/OAF_back_sad.wav", pitch=900)
    path = own_table("path,emotion,corpus\n0.wav,happy,tess\n")
    data = DataConfig(corpora=["tess"], paths={"tess": str(tmp_path / "t")}, table=str(path))
    built = build(data, AudioCache(tmp_path / "cache"))
    assert built.corpora["title"].tolist() == ["TESS"]


def test_votes_can_filter_or_replace_the_label(own_table, build_table):
    text = (
        "path,emotion,perceived,agreement\n"
        "0.wav,happy,happy,\n1.wav,happy,sad,\n2.wav,happy,happy:sad,\n3.wav,sad,,\n4.wav,sad,sad,0.4\n"
    )
    kept = build_table(own_table(text)).utterances
    assert kept["agreement"].fillna(-1).tolist() == [1.0, 0.0, 0.5, -1.0, 0.4]
    dropped = build_table(own_table(text), ambiguous="drop").utterances
    assert dropped["id"].tolist() == ["my/0.wav", "my/3.wav"]
    half = build_table(own_table(text), ambiguous="drop", min_agreement=0.5)
    assert half.utterances["id"].tolist() == ["my/0.wav", "my/2.wav", "my/3.wav"]
    assert half.dropped["reason"].tolist() == ["ambiguous", "ambiguous"]
    perceived = build_table(own_table(text), label_by="perceived")
    assert perceived.utterances["emotion"].tolist() == ["happy", "sad", "sad", "sad"]
    assert perceived.dropped["reason"].tolist() == ["ambiguous"]


def test_votes_for_labels_that_are_left_out_still_count(own_table, build_table):
    text = "path,emotion,perceived\n0.wav,happy,bored\n1.wav,sad,sad\n2.wav,happy,happy:bored\n"
    settings = {"label_map": {"bored": None}}
    assert build_table(own_table(text), **settings).utterances["agreement"].tolist() == [
        0.0,
        1.0,
        0.5,
    ]
    perceived = build_table(own_table(text), label_by="perceived", **settings)
    assert perceived.utterances["id"].tolist() == ["my/1.wav"]
    assert perceived.dropped["reason"].tolist() == ["left_out", "ambiguous"]


@pytest.mark.parametrize(
    "word", ["", "NA", "N/A", "n/a", "NaN", "nan", "None", "NULL", "-", " ", "<NA>", "#N/A"]
)
def test_missing_values_are_recognised_in_every_column(own_table, build_table, word):
    columns = "path,emotion,speaker,gender,sentence,split,corpus,start,end,perceived,agreement,age"
    text = (
        f"{columns}\n0.wav,happy{f',{word}' * 10}\n1.wav,sad,bob,male,hi,train,lab,0,0.5,sad,1,20\n"
    )
    row = build_table(own_table(text)).utterances.set_index("emotion").loc["happy"]
    assert row["id"] == "my/0.wav"
    assert not any(row[["speaker", "gender", "sentence", "split", "perceived", "age"]])
    assert row[["start", "end", "agreement"]].isna().all()


def test_a_speaker_split_refuses_missing_speakers(own_table, tmp_path):
    rows = [f"{n}.wav,{'happy' if n % 2 else 'sad'},{'NA' if n == 3 else n}" for n in range(9)]
    path = own_table("\n".join(["path,emotion,speaker", *rows]))
    data = DataConfig(corpora=[], table=str(path), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UserError, match="1 utterances of my"):
        prepare(data, SplitConfig(kind=SplitKind.speaker))


def test_windows_separators_are_read(own_table, build_table, tmp_path, write_tone):
    write_tone(tmp_path / "wav" / "a.wav", pitch=999)
    (tmp_path / "tables").mkdir()
    path = own_table("path,emotion\n..\\wav\\a.wav,sad\n..\\0.wav,happy\n", "tables/my.csv")
    found = build_table(path).utterances
    assert found["id"].tolist() == ["my/../0.wav", "my/../wav/a.wav"]


def test_paths_are_relative_to_the_table_or_to_the_working_directory(
    own_table, build_table, tmp_path, monkeypatch, write_tone
):
    write_tone(tmp_path / "work" / "audio" / "a.wav", pitch=999)
    monkeypatch.chdir(tmp_path / "work")
    found = build_table(own_table("path,emotion\n0.wav,sad\naudio/a.wav,happy\n")).utterances
    assert [Path(path).name for path in found["path"]] == ["0.wav", "a.wav"]
    with pytest.raises(UserError) as caught:
        build_table(own_table("path,emotion\nnone.wav,sad\n"))
    assert str(tmp_path) in str(caught.value)
    assert str(tmp_path / "work") in str(caught.value)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_unicode_forms_of_a_file_name_are_found(tmp_path, write_tone, build_table, forms):
    on_disk, in_table = (unicodedata.normalize(form, "Ärger.wav") for form in forms)
    write_tone(tmp_path / on_disk)
    write_tone(tmp_path / "b.wav", pitch=300)
    (tmp_path / "my.csv").write_text(f"path,emotion\n{in_table},sad\nb.wav,happy\n", "utf-8")
    assert len(build_table(tmp_path / "my.csv").utterances) == 2


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0.25", "0.75"),
        ("0 days 00:00:00.250000", "0 days 00:00:00.750000"),
        ("00:00:00.25", "0.75"),
        ("0:00.25", "0.75s"),
        ("250 ms", "0:00:00.75"),
    ],
)
def test_times_are_seconds_or_timedeltas(own_table, build_table, start, end):
    found = build_table(
        own_table(f"file,start,end,emotion\n0.wav,{start},{end},sad\n1.wav,0 days,NaT,happy\n")
    )
    assert found.utterances["seconds"].tolist() == [0.5, 1.0]


def test_decimal_commas_are_read_in_tables_with_semicolons(own_table, build_table):
    found = build_table(own_table("path;emotion;start;end\n0.wav;sad;0,25;0,75\n1.wav;happy;;\n"))
    assert found.utterances["seconds"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("header", "values", "seconds"),
    [
        ("start,duration", "0.5,0.25", 0.25),
        ("offset,duration", "0.5,0.25", 0.25),  # NeMo
        ("onset,offset", "0.5,0.75", 0.25),
        ("begin,end", "0.5,0.75", 0.25),
        ("offset,end", "0.5,0.75", 0.75),  # without a duration, an offset may be anything
        ("duration,length", "0.5,0.75", 1.0),  # without a start it is information only
        ("start,dur", "0.5,0.25", 0.25),
        ("start_sec,end_sec", "0.5,0.75", 0.25),
        ("Start (ms),End (ms)", "500,750", 0.25),
        ("begin_ms,duration_ms", "500.0,250.0", 0.25),
        ("offset,duration_ms", "0.5,250", 0.25),
        ("start_time_ms,end_time_ms", "0:00.5,750", 0.25),  # a time has its own unit
        ("xmin,xmax", "0.5,0.75", 0.25),  # Praat
        ("t0,t1", "0.5,0.75", 0.25),
        ("from,to", "0.5,0.75", 0.25),
        ("from,group", "0.5,0.75", 1.0),  # alone it may be anything
        ("from,to", "Alice,Bob", 1.0),
        ("xmin,ymin,xmax,ymax", "0.5,1,0.75,2", 1.0),  # a box in a picture
        ("start_us,end_us", "500000,750000", 0.25),
        ("Begin Time - ss.msec,End Time - ss.msec", "0.5,0.75", 0.25),  # ELAN
        ("Begin Time - msec,End Time - msec", "500,750", 0.25),
        ("begin,tends", "yes,lexical", 1.0),
        ("from,to", "Alice,5", 1.0),
    ],
)
def test_time_columns_of_other_names_are_understood(
    own_table, build_table, header, values, seconds
):
    found = build_table(own_table(f"path,emotion,{header}\n0.wav,sad,{values}\n")).utterances
    assert found["seconds"].tolist() == [seconds]


@pytest.mark.parametrize("header", ["start_sample,end_sample", "frame_offset,num_frames"])
def test_places_in_samples_are_refused(own_table, build_table, header):
    with pytest.raises(UserError, match=header.partition(",")[0]):
        build_table(own_table(f"path,emotion,{header}\n0.wav,sad,8000,12000\n"))


def test_a_start_without_an_end_is_reported(own_table, build_table, caplog):
    found = build_table(own_table("path,emotion,start\n0.wav,sad,0.25\n")).utterances
    assert found["seconds"].tolist() == [0.75]
    assert any("end" in record.message for record in caplog.records)


def test_marks_that_are_not_shown_are_no_part_of_a_cell(own_table, build_table):
    found = build_table(own_table("path,emotion\n\ufeff0.wav,sad\u200b\n")).utterances
    assert found["emotion"].tolist() == ["sad"]


def test_a_split_column_is_ignored_unless_the_split_uses_it(own_table, tmp_path):
    words = (
        "train",
        "Training",
        "VAL",
        "valid",
        "validation",
        "dev",
        "development",
        "test",
        "eval",
    )
    rows = [f"{n}.wav,{'happy' if n % 2 else 'sad'},{word}" for n, word in enumerate(words)]
    path = own_table("\n".join(["path,emotion,split", *rows]))
    data = DataConfig(
        corpora=[], table=str(path), cache_dir=str(tmp_path / "cache"), labels=["happy", "sad"]
    )
    done = prepare(data, SplitConfig(kind=SplitKind.table)).utterances.set_index("path")["split"]
    parts = {Path(str(name)).stem: part for name, part in done.items()}
    assert parts == dict(zip("012345678", ["train"] * 2 + ["val"] * 5 + ["test"] * 2, strict=True))
    path.write_text(path.read_text().replace("train", "0").replace("Training", "1"))
    assert len(build(data, AudioCache(tmp_path / "cache")).utterances) == 9
    with pytest.raises(UserError, match=r"split=table.*dev, development"):
        prepare(data, SplitConfig(kind=SplitKind.table))


def test_a_manifest_can_be_used_as_a_table(own_table, build_table, tmp_path):
    first = build_table(own_table("path,emotion,speaker\n0.wav,sad,a\n1.wav,happy,b\n"))
    first.write(tmp_path / "run")
    second = build_table(tmp_path / "run" / "manifest.csv").utterances
    for column in ("speaker", "corpus", "emotion", "content"):
        assert second[column].tolist() == first.utterances[column].tolist()


def test_a_pipe_is_no_table(tmp_path, build_table):
    os.mkfifo(tmp_path / "table.csv")
    with pytest.raises(UserError, match="pipe"):
        build_table(tmp_path / "table.csv")


def test_a_repaired_recording_is_noted_in_the_manifest(tmp_path, own_table, build_table):
    table = own_table("path,emotion\n0.wav,happy\n1.wav,sad\nopposite.wav,angry\n")
    voice, rate = soundfile.read(tmp_path / "2.wav")
    soundfile.write(tmp_path / "opposite.wav", np.stack([voice, -voice], axis=1), rate)
    notes = build_table(table).utterances.set_index("emotion")["note"]
    assert "opposite phase" in notes["angry"]
    assert notes[["happy", "sad"]].tolist() == ["", ""]
