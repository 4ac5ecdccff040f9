"""Data sets of Hugging Face: on disk, as Parquet, and by name; with recordings inside."""

import io
import json
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from pyarrow import parquet
from scanning import scan

from ser.audio.cache import AudioCache
from ser.config.data import DataConfig
from ser.errors import UserError
from ser.inference.sources import read_rows
from ser.preparation.prepare import build
from ser.preparation.tables import hub
from ser.preparation.tables.arrow import find_split


def wav(pitch: float) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, 0.3 * np.sin(np.arange(8000) * pitch), 16_000, format="WAV")
    return content.getvalue()


AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def data_set(pitches: list[float], first: int = 0) -> pa.Table:
    """A table as `datasets` writes it: recordings as bytes, labels as numbers of named classes."""
    audio = [{"bytes": wav(pitch), "path": "clip.wav"} for pitch in pitches]
    features = {
        "audio": {"_type": "Audio"},
        "label": {"names": ["sad", "happy"], "_type": "ClassLabel"},
        "speaker": {"dtype": "string", "_type": "Value"},
    }
    schema = pa.schema(
        [("audio", AUDIO), ("label", pa.int64()), ("speaker", pa.string())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    labels = [(first + row) % 2 for row in range(len(pitches))]
    return pa.table([audio, labels, ["x"] * len(pitches)], schema=schema)


def save_to_disk(table: pa.Table, folder: Path) -> None:
    folder.mkdir(parents=True)
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def write_parts(folder: Path, form: str) -> Path:
    parts = {"train": [0.02, 0.03, 0.04], "validation": [0.05, 0.06], "test": [0.07, 0.08]}
    for number, (part, pitches) in enumerate(parts.items()):
        table = data_set(pitches, number)
        if form == "saved":
            save_to_disk(table, folder / "set" / part)
        elif form == "hub":
            (folder / "set/data").mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, folder / f"set/data/{part}-00000-of-00001.parquet")
        else:  # as the hub converts data sets
            (folder / "set/default" / part).mkdir(parents=True)
            parquet.write_table(table, folder / f"set/default/{part}/0000.parquet")
    if form == "saved":
        (folder / "set/dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return folder / "set"


@pytest.mark.parametrize("form", ["saved", "hub", "converted"])
def test_data_sets_hold_recordings_class_names_and_parts(tmp_path, form):
    path = write_parts(tmp_path, form)
    data = DataConfig(corpora=[], table=str(path), cache_dir=str(tmp_path / "cache"))
    built = build(data, AudioCache(tmp_path / "cache"))
    found = built.utterances
    assert len(found) == 7
    assert found["split"].value_counts().to_dict() == {"train": 3, "val": 2, "test": 2}
    assert set(found["emotion"]) == {"happy", "sad"}
    assert found["content"].nunique() == 7
    assert found["seconds"].tolist() == [0.5] * 7
    assert set(found["speaker"]) == {"set/x"}


def test_recordings_are_extracted_once_and_keep_their_labels(tmp_path):
    pitches = [0.02, 0.03, 0.04]
    parquet.write_table(data_set(pitches), tmp_path / "my.parquet")
    first = scan(tmp_path / "my.parquet", tmp_path / "cache")
    assert [Path(path).read_bytes() for path in first["path"]] == [wav(pitch) for pitch in pitches]
    assert first["intended"].tolist() == ["sad", "happy", "sad"]
    states = [Path(path).stat().st_mtime_ns for path in first["path"]]
    again = scan(tmp_path / "my.parquet", tmp_path / "cache")
    assert [Path(path).stat().st_mtime_ns for path in again["path"]] == states


def test_recordings_of_a_killed_run_are_extracted_again(tmp_path, leftover_of):
    parquet.write_table(data_set([0.02, 0.03]), tmp_path / "my.parquet")
    found = scan(tmp_path / "my.parquet", tmp_path / "cache")
    folder = Path(found["path"].iloc[0]).parent
    folder.rename(leftover_of(folder))
    scan(tmp_path / "my.parquet", tmp_path / "cache")
    assert [each.name for each in folder.parent.iterdir() if each.is_dir()] == [folder.name]


def test_bytes_without_names_and_names_without_bytes_are_read(tmp_path, write_tone):
    write_tone(tmp_path / "there.wav")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = [
        {"bytes": wav(0.05), "path": None},
        {"bytes": None, "path": str(tmp_path / "there.wav")},
    ]
    table = pa.table([pa.array(audio, kind), ["happy", "sad"]], names=["audio", "emotion"])
    parquet.write_table(table, tmp_path / "my.parquet")
    data = DataConfig(corpora=[], table=str(tmp_path / "my.parquet"))
    assert len(build(data, AudioCache(tmp_path / "cache")).utterances) == 2
    plain = pa.table([[wav(0.05), wav(0.06)], ["happy", "sad"]], names=["audio", "emotion"])
    parquet.write_table(plain, tmp_path / "plain.parquet")
    assert len(scan(tmp_path / "plain.parquet", tmp_path / "cache")) == 2


def test_named_recordings_are_looked_up_beside_the_table(tmp_path, write_tone, monkeypatch):
    write_tone(tmp_path / "data/clips/there.wav")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array([{"bytes": None, "path": "clips/there.wav"}], kind)
    parquet.write_table(
        pa.table([audio, ["sad"]], names=["audio", "emotion"]), tmp_path / "data/my.parquet"
    )
    [row] = scan(tmp_path / "data/my.parquet", tmp_path / "cache").to_dict("records")
    assert row["id"] == "my/clips/there.wav"
    assert row["path"] == str(tmp_path / "data/clips/there.wav")
    [(found, _)] = read_rows(str(tmp_path / "data/my.parquet"), "")
    assert found == str(tmp_path / "data/clips/there.wav")


@pytest.mark.parametrize("half", ["stream", "dict", "state"])
def test_damaged_data_sets_are_one_message(tmp_path, half):
    folder = write_parts(tmp_path, "saved")
    names = {
        "stream": "train/data-00000-of-00001.arrow",
        "dict": "dataset_dict.json",
        "state": "train/state.json",
    }
    damaged = folder / names[half]
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(UserError, match=damaged.name):
        scan(folder, tmp_path / "cache")


def test_a_folder_may_hold_a_state_of_something_else(tmp_path):
    folder = write_parts(tmp_path, "hub")
    (folder / "state.json").write_text("{}")
    assert len(scan(folder, tmp_path / "cache")) == 7


def test_embedded_names_cannot_leave_the_folder(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = [
        {"bytes": wav(0.05), "path": name}
        for name in ("../../evil.wav", "/evil.wav", "a\\..\\b.wav")
    ]
    table = pa.table([pa.array(audio, kind), ["happy"] * 3], names=["audio", "emotion"])
    parquet.write_table(table, tmp_path / "my.parquet")
    found = scan(tmp_path / "my.parquet", tmp_path / "cache")
    inside = (tmp_path / "cache" / "tables").resolve()
    assert all(Path(path).resolve().is_relative_to(inside) for path in found["path"])


@pytest.mark.parametrize(
    "name", ["a\0b.wav", "a\nb.wav", "x" * 300, "é" * 150, "..", "/", "", None]
)
def test_any_embedded_name_makes_a_file(tmp_path, name):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array([{"bytes": wav(0.05), "path": name}], kind)
    table = pa.table([audio, ["happy"]], names=["audio", "emotion"])
    parquet.write_table(table, tmp_path / "my.parquet")
    [path] = scan(tmp_path / "my.parquet", tmp_path / "cache")["path"]
    assert Path(path).read_bytes() == wav(0.05)


def test_other_classes_and_unlabelled_rows_of_a_data_set_are_missing(tmp_path):
    table = data_set([0.02, 0.03]).set_column(1, data_set([0.02]).schema.field("label"), [[1, -1]])
    parquet.write_table(table, tmp_path / "my.parquet")
    with pytest.raises(UserError, match="row 2: emotion is missing"):
        scan(tmp_path / "my.parquet", tmp_path / "cache")


@pytest.fixture
def hub_of(tmp_path, monkeypatch):
    """A hub with one data set: a folder for each revision."""

    def hub_of(**revisions: Path) -> list[tuple]:
        asked = []

        def snapshot_download(name: str, **options) -> str:
            asked.append((name, options["revision"], options["allow_patterns"]))
            key = (options["revision"] or "main").replace("/", "_")
            if key not in revisions:
                (tmp_path / "nothing").mkdir(exist_ok=True)
                return str(tmp_path / "nothing")
            return str(revisions[key])

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        return asked

    return hub_of


def test_a_data_set_of_the_hub_is_downloaded_by_name(tmp_path, hub_of):
    asked = hub_of(main=write_parts(tmp_path, "hub"))
    found = scan("hf://owner/my-set", tmp_path / "cache")
    assert len(found) == 7
    assert set(found["corpus"]) == {"my-set"}
    assert asked == [("owner/my-set", None, ["**.parquet"])]
    assert len(scan("hf://datasets/owner/my-set@main", tmp_path / "cache")) == 7
    assert asked[1][:2] == ("owner/my-set", "main")


def test_without_parquet_files_the_conversion_of_the_hub_is_used(tmp_path, hub_of):
    asked = hub_of(refs_convert_parquet=write_parts(tmp_path, "converted"))
    assert len(scan("hf://owner/name", tmp_path / "cache")) == 7
    assert [revision for _, revision, _ in asked] == [None, "refs/convert/parquet"]
    assert len(scan("hf://owner/name/default", tmp_path / "cache")) == 7


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf://o/n", ("o/n", None, None)),
        ("hf://o/n@main/data/part", ("o/n", "main", "data/part")),
        ("hf://o/n@refs/convert/parquet", ("o/n", "refs/convert/parquet", None)),
        ("hf://o/n@refs/pr/1/data", ("o/n", "refs/pr/1", "data")),
        ("hf:/datasets/o/n/data", ("o/n", None, "data")),
    ],
)
def test_revisions_of_the_hub_may_have_slashes(source, expected):
    assert hub.parse(source) == expected


@pytest.mark.parametrize("name", ["hf://owner", "hf://", "hf://a/b/../../c@"])
def test_other_hub_names_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="OWNER/NAME"):
        scan(name, tmp_path / "cache")


def test_without_a_network_one_message_names_the_solutions(tmp_path):
    with pytest.raises(UserError, match="HF_ENDPOINT") as caught:  # HF_HUB_OFFLINE is set
        hub.download("hf://nobody/nothing")
    assert "data.table=FOLDER" in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("hf://a/b@typo", "typo"), ("hf://a/b", "Parquet")])
def test_a_revision_that_is_not_there_is_named(tmp_path, monkeypatch, name, words):
    def snapshot_download(_: str, **options) -> str:
        if options["revision"] is None:
            return str(tmp_path)
        raise RevisionNotFoundError("no such revision", response=MagicMock())

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=words):
        hub.download(name)


def test_a_lost_connection_is_one_message(monkeypatch):
    def snapshot_download(*_, **__) -> str:
        raise HfHubHTTPError.__bases__[0]("the connection was closed")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match="HF_ENDPOINT"):
        hub.download("hf://a/b")


@pytest.mark.parametrize(
    ("name", "part"), [("evaluation.parquet", "evaluation"), ("development-0.parquet", "development"),
                       ("train-0.parquet", "train"), ("trains.parquet", "")],
)  # fmt: skip
def test_files_are_named_after_parts_with_the_words_of_columns(name, part):
    assert find_split(Path(name)) == part


def test_each_file_has_its_own_order_of_classes(tmp_path):
    """`datasets` numbers the classes of each part in its own order, if they are encoded apart."""
    (tmp_path / "set").mkdir()
    for part, names in (("test", ["sad", "happy"]), ("train", ["happy", "sad"])):
        table = data_set([0.02, 0.03])
        metadata = table.schema.metadata[b"huggingface"].decode()
        changed = metadata.replace('["sad", "happy"]', json.dumps(names))
        table = table.replace_schema_metadata({"huggingface": changed})
        parquet.write_table(table, tmp_path / f"set/{part}-0.parquet")
    found = scan(tmp_path / "set", tmp_path / "cache")
    labels = found.groupby("split")["intended"].agg(list).to_dict()
    assert labels == {"test": ["sad", "happy"], "train": ["happy", "sad"]}


@pytest.mark.parametrize(
    ("columns", "embedded"),
    [
        ({"path": ["0.wav"], "vector": [b"\x01\x02\x03\x04"]}, False),  # an embedding
        ({"path": ["0.wav"], "speaker": [b"anna"]}, False),
        ({"path": ["0.wav"], "picture": [b"\x89PNG\r\n\x1a\n"], "audio": [wav(0.05)]}, True),
        ({"path": ["0.wav"], "content": [wav(0.05)]}, True),
        ({"clip": ["0.wav"], "speech": pa.array([{"path": "1.wav"}], AUDIO)}, True),
        ({"path": ["0.wav"], "file_info": [{"bytes": 1024, "path": "1.wav"}]}, False),
    ],
)
def test_bytes_are_recordings_only_if_they_look_like_them(folder, columns, embedded):
    parquet.write_table(pa.table(columns | {"emotion": [b"sad"]}), folder / "my.parquet")
    found = scan(folder / "my.parquet", folder / "cache")
    assert found["intended"].tolist() == ["sad"]
    assert (Path(found["path"].iloc[0]).name != "0.wav") == embedded
    assert "speaker" not in columns or found["speaker"].iloc[0].endswith("anna")


@pytest.mark.parametrize("name", ["set/data/train-0.parquet", "my.parquet"])
def test_a_table_that_git_lfs_has_not_fetched_is_named(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=f"{file.name}.*git lfs pull"):
        scan(tmp_path / Path(name).parts[0], tmp_path / "cache")


def test_a_data_set_without_its_end_or_with_a_selection_is_refused(tmp_path):
    save_to_disk(data_set([0.02, 0.03]), tmp_path / "set")
    file = tmp_path / "set/data-00000-of-00001.arrow"
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])  # the mark after the last batch
    with pytest.raises(UserError, match="cut off"):
        scan(tmp_path / "set", tmp_path / "cache")
    file.write_bytes(whole)
    assert len(scan(tmp_path / "set", tmp_path / "cache")) == 2
    state = {"_data_files": [{"filename": file.name}], "_indices_data_files": [{"filename": "i"}]}
    (tmp_path / "set/state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="flatten_indices"):
        scan(tmp_path / "set", tmp_path / "cache")
