import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser.corpora import CORPORA
from ser.errors import UserError
from ser.preparation import manifest
from ser.preparation.manifest import Manifest, PreparationError, keeping_dropped
from ser.preparation.scan import scan_corpus


@pytest.fixture
def build(tmp_path, build_manifest):
    def build(**folders):
        return build_manifest(tmp_path / "cache", **folders)

    return build


def reasons(built: Manifest) -> dict[str, str]:
    names = [Path(path).name for path in built.dropped["path"]]
    return dict(zip(names, built.dropped["reason"], strict=True))


def test_every_file_is_either_kept_or_dropped_with_a_reason(corpora, build_manifest, cache_dir):
    names = ("ravdess", "cremad", "tess", "savee")
    built = build_manifest(cache_dir, **{name: corpora / name for name in names})
    files = [path for name in names for path in (corpora / name).rglob("*") if path.is_file()]
    accounted = [*built.utterances["path"], *built.dropped["path"]]
    assert sorted(accounted) == sorted(map(str, files))
    assert built.dropped["reason"].value_counts().to_dict() == {
        "mirror": 32,
        "label_conflict": 2,
        "duplicate": 1,
        "off_grammar": 1,
        "silent": 1,
    }


def test_nested_mirrors_are_dropped_and_the_outer_copy_is_kept(tmp_path, write_tone, build):
    write_tone(tmp_path / "r/Actor_01/03-01-01-01-01-01-01.wav")
    shutil.copytree(tmp_path / "r/Actor_01", tmp_path / "r/audio_speech_actors_01-24/Actor_01")
    built = build(ravdess=tmp_path / "r")
    assert built.utterances["path"].tolist() == [
        str(tmp_path / "r/Actor_01/03-01-01-01-01-01-01.wav")
    ]
    assert built.dropped["reason"].tolist() == ["mirror"]


def test_one_of_two_identical_recordings_is_kept(tmp_path, write_tone, build):
    for name in ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07"):
        write_tone(tmp_path / f"r/{name}.wav")
    built = build(ravdess=tmp_path / "r")
    assert built.utterances["id"].tolist() == ["ravdess/03-01-03-01-02-01-07"]
    assert reasons(built) == {"03-01-03-01-02-02-07.wav": "duplicate"}


@pytest.mark.parametrize(
    "emotions", [("HAP", "NEU"), ("HAP", "NEU", "SAD"), ("HAP", "HAP2", "SAD")]
)
def test_recordings_with_several_labels_are_dropped(tmp_path, write_tone, build, emotions):
    write_tone(tmp_path / "c/1001_IEO_ANG_XX.wav", pitch=100)
    for emotion in emotions:
        sentence = "TIE" if emotion == "HAP2" else "IEO"
        write_tone(tmp_path / f"c/1006_{sentence}_{emotion[:3]}_XX.wav")
    built = build(cremad=tmp_path / "c")
    assert built.utterances["id"].tolist() == ["cremad/1001_IEO_ANG_XX"]
    assert set(built.dropped["reason"]) == {"label_conflict"}
    assert len(built.dropped) == len(emotions)
    assert built.dropped["detail"].str.contains("1006_IEO_SAD_XX|1006_IEO_NEU_XX").all()


def test_savee_speakers_with_equal_base_names_are_all_kept(tmp_path, write_tone, build):
    for pitch, speaker in enumerate(("DC", "JE", "JK", "KL"), start=100):
        write_tone(tmp_path / f"s/AudioData/{speaker}/a01.wav", pitch=pitch)
    assert len(build(savee=tmp_path / "s").utterances) == 4


def test_two_recordings_of_one_id_are_an_error_that_names_both(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/a/OAF_back_sad.wav", pitch=100)
    write_tone(tmp_path / "t/b/OAF_back_sad.wav", pitch=200)
    with pytest.raises(ValueError, match=r"a/OAF_back_sad\.wav and .*b/OAF_back_sad\.wav"):
        build(tess=tmp_path / "t")


def test_names_are_case_insensitive(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/OAF_back_sad.wav")
    if (tmp_path / "t/oaf_BACK_sad.WAV").exists():
        pytest.skip("this file system ignores case")
    write_tone(tmp_path / "t/oaf_BACK_sad.WAV")
    built = build(tess=tmp_path / "t")
    assert built.utterances["id"].tolist() == ["tess/OAF_back_sad"]
    assert built.dropped["reason"].tolist() == ["mirror"]
    write_tone(tmp_path / "t/OAF_Back_sad.wav", pitch=300)
    with pytest.raises(UserError, match="tess/OAF_back_sad"):
        build(tess=tmp_path / "t")


def test_copies_in_another_container_are_mirrors(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/OAF_bite_neutral.wav")
    write_tone(tmp_path / "t/x/OA_bite_neutral.wav", format="AIFF", subtype="PCM_16")
    assert build(tess=tmp_path / "t").dropped["reason"].tolist() == ["mirror"]


def test_only_unusable_files_are_dropped_with_the_fault_as_reason(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/OAF_back_sad.wav")
    soundfile.write(tmp_path / "t/OAF_bar_sad.wav", np.zeros(16_000), 16_000)
    (tmp_path / "t/notes.txt").write_text("notes")
    built = build(tess=tmp_path / "t")
    assert reasons(built) == {"OAF_bar_sad.wav": "silent", "notes.txt": "off_grammar"}


def test_folder_links_to_itself_are_followed_once(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/OAF_back_sad.wav")
    (tmp_path / "t/again").symlink_to(tmp_path / "t")
    assert len(build(tess=tmp_path / "t").utterances) == 1


def test_non_ascii_names_are_read_and_written(tmp_path, write_tone, build):
    write_tone(tmp_path / "Gefühle ☂/OAF_back_sad.wav")
    built = build(tess=tmp_path / "Gefühle ☂")
    built.write(tmp_path)
    pd.testing.assert_frame_equal(manifest.read(tmp_path / "manifest.csv"), built.utterances)


def test_manifests_are_equal_after_writing_and_reading(
    tmp_path, corpora, build_manifest, cache_dir
):
    built = build_manifest(cache_dir, tess=corpora / "tess")
    built.write(tmp_path)
    again = manifest.read(tmp_path / "manifest.csv")
    pd.testing.assert_frame_equal(again, built.utterances)
    assert Manifest(again, built.dropped).fingerprint == built.fingerprint


def test_fingerprint_depends_on_labels_samples_and_parts_only(corpora, build_manifest, cache_dir):
    built = build_manifest(cache_dir, tess=corpora / "tess")
    table = built.utterances

    def fingerprint(changed: pd.DataFrame) -> str:
        return Manifest(changed, built.dropped).fingerprint

    assert fingerprint(table.sample(frac=1, random_state=0)) == built.fingerprint
    assert fingerprint(table.assign(path="elsewhere")) == built.fingerprint
    assert fingerprint(table.assign(split="test")) != built.fingerprint
    assert fingerprint(table.iloc[1:]) != built.fingerprint


def test_real_ravdess_loses_one_duplicate_and_real_tess_nothing(
    real_audio, build_manifest, cache_dir
):
    ravdess = build_manifest(cache_dir, ravdess=real_audio / "ravdess")
    assert len(ravdess.utterances) == 359
    assert ravdess.dropped["reason"].tolist() == ["duplicate"]
    assert (ravdess.utterances["channels"] == 2).sum() == 5
    tess = build_manifest(cache_dir, tess=real_audio / "tess")
    assert len(tess.utterances) == 420
    assert len(tess.dropped) == 0
    assert tess.utterances["format"].str.startswith("AIFF").sum() == 2
    assert (tess.utterances["sample_rate"] == 96_000).sum() == 1


def test_the_copy_nearest_to_the_root_is_kept(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/ZZ/OAF_back_sad.wav")
    shutil.copytree(tmp_path / "t/ZZ", tmp_path / "t/AA/ZZ")
    built = build(tess=tmp_path / "t")
    assert built.utterances["path"].tolist() == [str(tmp_path / "t/ZZ/OAF_back_sad.wav")]


def test_a_corpus_without_usable_files_is_an_error(tmp_path, write_tone, build):
    write_tone(tmp_path / "t/OAF_back_sad.wav")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/1001_IEO_ANG_XX.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(PreparationError, match="git lfs pull") as caught:
        build(tess=tmp_path / "t", cremad=tmp_path / "c")
    assert caught.value.manifest.dropped["reason"].tolist() == ["lfs_pointer"]


@pytest.mark.parametrize("column", ["emotion", "content", "id"])
def test_fingerprint_changes_with_each_column(corpora, build_manifest, cache_dir, column):
    built = build_manifest(cache_dir, tess=corpora / "tess")
    changed = built.utterances.copy()
    changed.loc[0, column] = "other"
    assert Manifest(changed, built.dropped).fingerprint != built.fingerprint


def test_a_missing_folder_is_an_error(tmp_path):
    from ser.system.files import list_files

    with pytest.raises(FileNotFoundError, match="gone"):
        list_files(tmp_path / "gone")


def test_names_that_are_not_utf8_are_dropped(tmp_path, write_tone):
    folder = os.fsencode(tmp_path) + b"/Actor_\xe9"
    try:
        Path(os.fsdecode(folder)).mkdir()
    except OSError:
        pytest.skip("this file system accepts UTF-8 names only")
    shutil.move(write_tone(tmp_path / "03-01-01-01-01-01-01.wav"), os.fsdecode(folder))
    found = scan_corpus(CORPORA["ravdess"], tmp_path)
    assert found.utterances.empty
    assert found.dropped["path"].tolist()[0].endswith("Actor_\\xe9/03-01-01-01-01-01-01.wav")
    assert found.dropped["reason"].tolist() == ["off_grammar"]
    found.write(tmp_path)


GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1" / "full" / "manifest.csv"


def test_manifests_of_earlier_versions_are_read():
    table = manifest.read(GOLDEN)
    assert list(table.columns) == list(manifest.COLUMNS)
    assert set(table["age"]) == set(table["intensity"]) == {""}
    assert table["sentence"].str.len().gt(0).all()


@pytest.mark.parametrize("text", ["id,corpus\nx,y\n", "", '"unclosed'])
def test_other_files_are_not_manifests(tmp_path, text):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.csv is not a manifest"):
        manifest.read(tmp_path / "manifest.csv")


def test_age_and_intensity_come_from_the_corpus(tmp_path, write_tone, build):
    write_tone(tmp_path / "r/03-01-03-02-01-01-01.wav", pitch=100)
    write_tone(tmp_path / "c/1001_IEO_ANG_HI.wav", pitch=200)
    write_tone(tmp_path / "t/OAF_back_sad.wav", pitch=300)
    table = build(
        ravdess=tmp_path / "r", cremad=tmp_path / "c", tess=tmp_path / "t"
    ).utterances.set_index("corpus")
    assert table["intensity"].to_dict() == {"ravdess": "strong", "cremad": "high", "tess": ""}
    assert table["age"].to_dict() == {"ravdess": "", "cremad": "", "tess": "64"}


def test_dropped_files_are_written_if_the_preparation_fails(
    tmp_path, corpora, build_manifest, cache_dir
):
    built = build_manifest(cache_dir, cremad=corpora / "cremad")
    with pytest.raises(PreparationError, match=r"dropped\.csv"), keeping_dropped(tmp_path / "run"):
        raise PreparationError("too few utterances.", built)
    written = pd.read_csv(tmp_path / "run" / "dropped.csv")
    assert written["reason"].tolist() == built.dropped["reason"].tolist()


def test_identical_recordings_can_be_kept_as_in_published_lists(
    tmp_path, write_tone, build_manifest
):
    for emotion in ("HAP", "NEU"):
        write_tone(tmp_path / f"c/1006_TIE_{emotion}_XX.wav")
    write_tone(tmp_path / "c/1001_IEO_ANG_XX.wav", pitch=100)
    shutil.copytree(tmp_path / "c", tmp_path / "c/copy")
    built = build_manifest(tmp_path / "cache", {"deduplicate": False}, cremad=tmp_path / "c")
    assert len(built.utterances) == 3
    assert set(built.dropped["reason"]) == {"mirror"}
