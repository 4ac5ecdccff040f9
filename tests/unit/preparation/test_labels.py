import re
from pathlib import Path

import pytest

from ser.config.data import DataConfig
from ser.config.split import SplitConfig
from ser.corpora import CORPORA
from ser.corpora.ravdess import Channel
from ser.errors import UserError
from ser.preparation.prepare import prepare

HEADER = '"","FileName","VoiceVote","VoiceLevel"\n'


@pytest.fixture
def cremad(tmp_path, write_tone) -> Path:
    for pitch, emotion in enumerate(("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")):
        write_tone(tmp_path / f"c/1001_IEO_{emotion}_XX.wav", pitch=100 + 40 * pitch)
    return tmp_path / "c"


@pytest.fixture
def votes(tmp_path) -> Path:
    winners = {"ANG": "A", "DIS": "A", "FEA": "F:S", "HAP": "A:D:H", "NEU": "N"}
    rows = [f'"1","1001_IEO_{name}_XX","{vote}","50"\n' for name, vote in winners.items()]
    (tmp_path / "votes.csv").write_text(HEADER + "".join(rows))
    return tmp_path / "votes.csv"


def test_votes_give_perceived_emotion_and_agreement(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}}
    table = build_manifest(tmp_path / "cache", settings, cremad=cremad).utterances
    assert table["emotion"].tolist() == ["angry", "disgust", "fear", "happy", "neutral", "sad"]
    expected = ["angry", "angry", "fear:sad", "angry:disgust:happy", "neutral", ""]
    assert table["perceived"].tolist() == expected
    agreement = table["agreement"].round(2).fillna(-1).tolist()
    assert agreement == [1.0, 0.0, 0.5, 0.33, 1.0, -1.0]


def test_without_votes_everything_is_kept_and_agreement_is_unknown(
    tmp_path, cremad, build_manifest
):
    table = build_manifest(tmp_path / "cache", cremad=cremad).utterances
    assert len(table) == 6
    assert table["agreement"].isna().all()


def test_ambiguous_utterances_can_be_left_out(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}, "ambiguous": "drop", "min_agreement": 0.5}
    built = build_manifest(tmp_path / "cache", settings, cremad=cremad)
    assert built.utterances["emotion"].tolist() == ["angry", "fear", "neutral", "sad"]
    assert set(built.dropped["reason"]) == {"ambiguous"}


def test_perceived_emotion_can_be_the_label(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}, "label_by": "perceived"}
    built = build_manifest(tmp_path / "cache", settings, cremad=cremad)
    assert built.utterances["emotion"].tolist() == ["angry", "angry", "neutral", "sad"]
    assert built.utterances["intended"].tolist() == ["angry", "disgust", "neutral", "sad"]
    assert built.utterances["agreement"].fillna(-1).tolist() == [1.0, 1.0, 1.0, -1.0]
    assert len(built.dropped) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"FileName,Other\nx,y\n", r"votes\.csv.*VoiceVote"),
        (b"PK\3\4\xff\xfe\0 a workbook", r"votes\.csv.*FileName"),
        (b"FileName,VoiceVote\n" + b"x" * 200_000, r"votes\.csv"),
        (HEADER.encode() + b'"1","1001_IEO_ANG_XX","Q","1"\n', r"votes\.csv, row 2"),
        (HEADER.encode() + b'"1","1001_IEO_ANG_XX"\n', r"votes\.csv, row 2"),
        (HEADER.encode() + b'"1","1001","A","1"\n', r"votes\.csv, row 2"),
    ],
)
def test_other_vote_tables_are_refused(tmp_path, cremad, build_manifest, content, problem):
    (tmp_path / "votes.csv").write_bytes(content)
    settings = {"votes": {"cremad": str(tmp_path / "votes.csv")}}
    with pytest.raises(UserError, match=problem):
        build_manifest(tmp_path / "cache", settings, cremad=cremad)


def test_votes_in_the_home_folder_are_found(tmp_path, cremad, votes, build_manifest, monkeypatch):
    monkeypatch.setenv("HOME", str(votes.parent))
    file: dict[str, str | None] = {"cremad": "~/votes.csv"}
    DataConfig(corpora=["cremad"], paths={"cremad": str(cremad)}, votes=file).check_files()
    table = build_manifest(tmp_path / "cache", {"votes": file}, cremad=cremad).utterances
    assert table["agreement"].notna().sum() == 5


ACTORS = '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","Not Hispanic"\n'


def test_demographics_are_those_of_the_speaker(tmp_path, write_tone, cremad, build_manifest):
    for actor in ("1047", "1091"):
        write_tone(cremad / f"{actor}_IEO_ANG_XX.wav", pitch=500 + int(actor))
    (tmp_path / "actors.csv").write_text(ACTORS + '1047,22,"Female","Unknown","Hispanic"\n')
    settings = {"demographics": {"cremad": str(tmp_path / "actors.csv")}}
    table = build_manifest(tmp_path / "cache", settings, cremad=cremad).utterances
    found = table.groupby("speaker")[["age", "race", "ethnicity"]].agg(list).map(set)
    assert found.loc["cremad/1001"].tolist() == [{"51"}, {"caucasian"}, {"not hispanic"}]
    assert found.loc["cremad/1047"].tolist() == [{"22"}, {""}, {"hispanic"}]
    assert found.loc["cremad/1091"].tolist() == [{""}, {""}, {""}]


@pytest.mark.parametrize(
    "row",
    [
        "1002,old,Female,Asian,Hispanic",
        "1002,99999999999999999999,Female,Asian,Hispanic",
        "x,21,Female,Asian,Hispanic",
        "1001,21,Male,Caucasian,Not Hispanic",  # 51 in the row before
    ],
)
def test_other_tables_of_speakers_are_refused(tmp_path, cremad, build_manifest, row):
    (tmp_path / "actors.csv").write_text(f"{ACTORS}\n\n{row}\n")
    settings = {"demographics": {"cremad": str(tmp_path / "actors.csv")}}
    with pytest.raises(UserError, match=r"actors\.csv, row 5"):
        build_manifest(tmp_path / "cache", settings, cremad=cremad)


@pytest.mark.parametrize("files", [{"ravdess": "x.csv"}, {"cremad": "no/such.csv"}])
def test_demographics_need_a_file_of_a_corpus_that_has_them(files):
    with pytest.raises(UserError, match=r"data\.demographics"):
        DataConfig(demographics=files).check_files()


def test_published_votes_agree_with_3099_of_7442_intended_labels(real_audio):
    table = real_audio.parent / "listings" / "cremad_summaryTable.csv"
    if not table.is_file():
        pytest.skip("no summaryTable.csv beside SER_REAL_AUDIO")
    read_votes = CORPORA["cremad"].read_votes
    assert read_votes is not None
    votes = read_votes(table)
    codes = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral"}
    codes["SAD"] = "sad"
    agreeing = sum(winners == (codes[name.split("_")[2]],) for name, winners in votes.items())
    ties = sum(len(winners) > 1 for winners in votes.values())
    assert (len(votes), agreeing, ties) == (7442, 3099, 644)


def test_merged_labels_are_one_class_without_conflict(tmp_path, write_tone, build_manifest):
    for code in ("01", "02"):  # one recording as neutral and as calm
        write_tone(tmp_path / f"r/03-01-{code}-01-01-01-01.wav")
    write_tone(tmp_path / "r/03-01-03-01-01-01-01.wav", pitch=400)
    apart = build_manifest(tmp_path / "cache", ravdess=tmp_path / "r")
    assert apart.utterances["emotion"].tolist() == ["happy"]
    merged = build_manifest(
        tmp_path / "cache", {"merge": {"calm": "neutral"}}, ravdess=tmp_path / "r"
    )
    assert sorted(merged.utterances["emotion"]) == ["happy", "neutral"]


def test_emotions_outside_the_label_space_are_dropped_with_a_reason(
    tmp_path, cremad, build_manifest
):
    built = build_manifest(tmp_path / "cache", {"labels": ["sad", "angry"]}, cremad=cremad)
    assert built.utterances["emotion"].tolist() == ["angry", "sad"]
    assert built.dropped["reason"].tolist() == ["left_out"] * 4


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"merge": {"joy": "happy"}}, "data.merge=joy"),
        ({"merge": {"calm": "neutral", "neutral": "sad"}}, "data.merge=neutral"),
        ({"merge": {"calm": None}}, "data.merge=calm"),
        ({"labels": ["sad"]}, "data.labels="),
        ({"labels": ["sad", "sad", "happy"]}, "data.labels="),
        ({"labels": ["sad", "calm"], "merge": {"calm": "neutral"}}, "data.labels=calm"),
        ({"labels": ["sad", "happiness"]}, "data.labels=happiness"),
        ({"ambiguous": "drop"}, "data.ambiguous=drop"),
        ({"label_by": "perceived"}, "data.label_by=perceived"),
        ({"votes": {"tess": None}}, "data.votes=tess"),
        ({"votes": {"cremad": "gone.csv"}}, "data.votes.cremad=gone.csv"),
        ({"table": "gone.csv"}, "data.table=gone.csv"),
        ({"label_map": {"anger": "angry"}}, "data.label_map="),
        ({"columns": {"path": "file"}}, "data.columns="),
        ({"corpora": []}, "data.corpora=[]"),
        ({"corpora": ["tess", "tess"]}, "data.corpora="),
        ({"corpora": ["tes"]}, "data.corpora=tes"),
        ({"paths": {"tes": "/"}}, "data.paths=tes"),
        ({"paths": {"tess": "/nowhere"}}, "data.paths.tess=/nowhere"),
        ({"corpora": ["iemocap"]}, "data.paths.iemocap"),
        ({"ravdess_channel": "song"}, "data.paths.ravdess"),
        ({"corpora": ["tess"], "ravdess_channel": Channel.song}, "data.ravdess_channel=song"),
        ({"versions": {"tess": 0}}, "data.versions.tess=0"),
        ({"min_agreement": 0.0}, "data.min_agreement=0.0"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_key(settings, key):
    with pytest.raises(UserError, match=f"^{re.escape(key)}"):
        DataConfig(**settings).check_files()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"labels": ["sad", "angry", "suprise"]}, "data.labels=suprise"),
        ({"labels": ["sad", "surprise"]}, "data.labels=surprise"),
        ({"merge": {"boredom": "neutral"}}, "data.merge=boredom"),
    ],
)
def test_labels_and_merges_without_effect_are_refused_before_decoding(
    tmp_path, cremad, settings, key
):
    data = DataConfig(
        corpora=["cremad"], paths={"cremad": str(cremad)}, cache_dir=str(tmp_path / "c"), **settings
    )
    with pytest.raises(UserError, match=f"^{re.escape(key)}"):
        prepare(data, SplitConfig())
    assert not list((tmp_path / "c").glob("*/*.csv"))  # nothing was decoded


def test_label_space_follows_labels_and_merge():
    assert DataConfig(merge={"calm": "neutral"}).label_space == [
        "neutral", "happy", "sad", "angry", "fear", "disgust", "surprise",
    ]  # fmt: skip
    assert DataConfig(labels=["sad", "happy"]).label_space == ["sad", "happy"]
    grouped = DataConfig(merge={"angry": "negative", "sad": "negative"}).label_space
    assert grouped == ["neutral", "happy", "negative", "fear", "disgust", "surprise", "calm"]


def test_votes_for_merged_emotions_count_as_one(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}, "merge": {"disgust": "angry", "sad": "fear"}}
    table = build_manifest(tmp_path / "cache", settings, cremad=cremad).utterances
    assert table["emotion"].tolist() == ["angry", "angry", "fear", "happy", "neutral", "fear"]
    assert table["perceived"].tolist() == ["angry", "angry", "fear", "angry:happy", "neutral", ""]
    agreement = table["agreement"].round(2).fillna(-1).tolist()
    assert agreement == [1.0, 1.0, 1.0, 0.33, 1.0, -1.0]
