from pathlib import Path

import pytest

from ser.corpora import CORPORA
from ser.data_config import DataConfig

HEADER = '"","FileName","VoiceVote","VoiceLevel"\n'


@pytest.fixture
def cremad(tmp_path, write_tone) -> Path:
    for pitch, emotion in enumerate(("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")):
        write_tone(tmp_path / f"c/1001_IEO_{emotion}_XX.wav", pitch=100 + 40 * pitch)
    return tmp_path / "c"


@pytest.fixture
def votes(tmp_path) -> Path:
    heard = {"ANG": "A", "DIS": "A", "FEA": "F:S", "HAP": "A:D:H", "NEU": "N"}
    rows = [f'"1","1001_IEO_{name}_XX","{vote}","50"\n' for name, vote in heard.items()]
    (tmp_path / "votes.csv").write_text(HEADER + "".join(rows))
    return tmp_path / "votes.csv"


def test_votes_say_what_was_heard_and_how_far_it_was_meant(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}}
    table = build_manifest(tmp_path / "cache", settings, cremad=cremad).utterances
    assert table["emotion"].tolist() == ["angry", "disgust", "fear", "happy", "neutral", "sad"]
    heard = ["angry", "angry", "fear:sad", "angry:disgust:happy", "neutral", ""]
    assert table["perceived"].tolist() == heard
    agreement = table["agreement"].round(2).fillna(-1).tolist()
    assert agreement == [1.0, 0.0, 0.5, 0.33, 1.0, -1.0]


def test_without_votes_everything_is_kept_and_nothing_judged(tmp_path, cremad, build_manifest):
    table = build_manifest(tmp_path / "cache", cremad=cremad).utterances
    assert len(table) == 6
    assert table["agreement"].isna().all()


def test_the_ambiguous_can_be_left_out(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}, "ambiguous": "drop", "min_agreement": 0.5}
    built = build_manifest(tmp_path / "cache", settings, cremad=cremad)
    assert built.utterances["emotion"].tolist() == ["angry", "fear", "neutral", "sad"]
    assert set(built.dropped["reason"]) == {"ambiguous"}


def test_what_was_heard_can_be_the_label(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}, "label_by": "perceived"}
    built = build_manifest(tmp_path / "cache", settings, cremad=cremad)
    assert built.utterances["emotion"].tolist() == ["angry", "angry", "neutral", "sad"]
    assert built.utterances["intended"].tolist() == ["angry", "disgust", "neutral", "sad"]
    assert built.utterances["agreement"].fillna(-1).tolist() == [1.0, 1.0, 1.0, -1.0]
    assert len(built.dropped) == 2


@pytest.mark.parametrize(
    "text", ["FileName,Other\nx,y\n", HEADER + '"1","1001_IEO_ANG_XX","Q","1"\n']
)
def test_another_table_of_votes_is_refused(tmp_path, cremad, build_manifest, text):
    (tmp_path / "votes.csv").write_text(text)
    settings = {"votes": {"cremad": str(tmp_path / "votes.csv")}}
    with pytest.raises(ValueError, match=r"votes\.csv, row 2, is not as in CREMA-D"):
        build_manifest(tmp_path / "cache", settings, cremad=cremad)


def test_the_published_votes_agree_with_the_intended_label_in_two_of_five(real_audio):
    table = real_audio.parent / "listings" / "cremad_summaryTable.csv"
    if not table.is_file():
        pytest.skip("no summaryTable.csv beside SER_REAL_AUDIO")
    read_votes = CORPORA["cremad"].read_votes
    assert read_votes is not None
    votes = read_votes(table)
    codes = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral"}
    codes["SAD"] = "sad"
    meant = sum(heard == (codes[name.split("_")[2]],) for name, heard in votes.items())
    assert (len(votes), meant, sum(len(heard) > 1 for heard in votes.values())) == (7442, 3099, 644)


def test_merged_labels_are_one_class_and_no_conflict(tmp_path, write_tone, build_manifest):
    for code in ("01", "02"):  # one recording as neutral and as calm
        write_tone(tmp_path / f"r/03-01-{code}-01-01-01-01.wav")
    write_tone(tmp_path / "r/03-01-03-01-01-01-01.wav", pitch=400)
    apart = build_manifest(tmp_path / "cache", ravdess=tmp_path / "r")
    assert apart.utterances["emotion"].tolist() == ["happy"]
    merged = build_manifest(
        tmp_path / "cache", {"merge": {"calm": "neutral"}}, ravdess=tmp_path / "r"
    )
    assert sorted(merged.utterances["emotion"]) == ["happy", "neutral"]


def test_classes_outside_the_label_space_are_left_out_and_counted(tmp_path, cremad, build_manifest):
    built = build_manifest(tmp_path / "cache", {"labels": ["sad", "angry"]}, cremad=cremad)
    assert built.utterances["emotion"].tolist() == ["angry", "sad"]
    assert built.dropped["reason"].tolist() == ["left_out"] * 4


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"merge": {"joy": "happy"}}, r"data\.merge=joy: there is only neutral"),
        ({"merge": {"calm": "neutral", "neutral": "sad"}}, r"data\.merge=neutral: is merged"),
        ({"labels": ["sad"]}, r"data\.labels=\['sad'\]: name at least two"),
        ({"labels": ["sad", "sad", "happy"]}, "names a class twice"),
        ({"labels": ["sad", "calm"], "merge": {"calm": "neutral"}}, "is merged into neutral"),
        ({"ambiguous": "drop"}, r"data\.ambiguous=drop: needs votes"),
        ({"label_by": "perceived"}, r"data\.label_by=perceived: needs votes"),
        ({"votes": {"tess": None}}, r"data\.votes=tess: votes are known of cremad only"),
        ({"votes": {"cremad": "gone.csv"}}, r"data\.votes\.cremad=gone\.csv: no such file"),
        ({"table": "gone.csv"}, r"data\.table=gone\.csv: no such file"),
        ({"corpora": []}, r"data\.corpora=\[\]: name some of .* or your own data\.table"),
        ({"versions": {"tess": 0}}, r"data\.versions\.tess=0: from 1"),
        ({"min_agreement": 0.0}, r"data\.min_agreement=0\.0: above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        DataConfig(**settings)


def test_the_label_space_follows_the_settings():
    assert DataConfig(merge={"calm": "neutral"}).label_space == [
        "neutral", "happy", "sad", "angry", "fear", "disgust", "surprise",
    ]  # fmt: skip
    assert DataConfig(labels=["sad", "happy"]).label_space == ["sad", "happy"]
    grouped = DataConfig(merge={"angry": "negative", "sad": "negative"}).label_space
    assert grouped == ["neutral", "happy", "negative", "fear", "disgust", "surprise", "calm"]


def test_votes_for_merged_emotions_are_votes_for_one(tmp_path, cremad, votes, build_manifest):
    settings = {"votes": {"cremad": str(votes)}, "merge": {"disgust": "angry", "sad": "fear"}}
    table = build_manifest(tmp_path / "cache", settings, cremad=cremad).utterances
    assert table["emotion"].tolist() == ["angry", "angry", "fear", "happy", "neutral", "fear"]
    assert table["perceived"].tolist() == ["angry", "angry", "fear", "angry:happy", "neutral", ""]
    agreement = table["agreement"].round(2).fillna(-1).tolist()
    assert agreement == [1.0, 1.0, 1.0, 0.33, 1.0, -1.0]
