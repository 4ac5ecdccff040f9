import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from ser.audio.cache import AudioCache
from ser.audio.decode import decode
from ser.corpora import synthetic
from ser.corpora.emotions import LABELS, Emotion
from ser.corpora.synthetic import SyntheticClip, ensure_corpora, speak
from ser.errors import UserError

# A sad clip as the first version wrote it: its length, and every 1,000th sample from 5,000 on.
LENGTH = 16_376
SAMPLES = [0.0233, 0.01718, 0.21892, 0.13298, 0.29295, 0.36823, 0.19159, -0.09435]


def clip(emotion: Emotion, name: str = "x") -> SyntheticClip:
    return SyntheticClip(f"{name}.wav", "ravdess/1", "male", emotion, "01", 16_000)


def test_the_same_clip_is_the_same_on_every_machine():
    samples = speak(clip(Emotion.SAD))
    assert len(samples) == LENGTH
    np.testing.assert_allclose(samples[5000:13_000:1000], SAMPLES, atol=1e-4)
    assert not np.array_equal(samples, speak(clip(Emotion.SAD, "y")))


def test_clips_are_finite_and_about_a_second_long():
    for emotion in Emotion:
        samples = speak(clip(emotion))
        assert np.isfinite(samples).all()
        assert 0.1 < np.abs(samples).max() < 1
        assert 0.9 <= len(samples) / 16_000 <= 1.3


@pytest.mark.parametrize(
    ("corpus", "rate", "path"),
    [
        ("ravdess", 48_000, "Actor_02/03-01-01-01-01-01-02.wav"),
        ("cremad", 16_000, "AudioWAV/1001_IEO_ANG_XX.wav"),
        ("tess", 24_414, "TESS Toronto emotional speech set data/OAF_angry/OAF_back_angry.wav"),
        ("savee", 44_100, "ALL/DC_a01.wav"),
    ],
)
def test_each_corpus_has_its_own_layout_and_sample_rate(corpora, corpus, rate, path):
    assert soundfile.info(corpora / corpus / path).samplerate == rate


def test_irregular_files_are_included(corpora):
    assert soundfile.info(corpora / "ravdess/Actor_01/03-01-02-01-01-02-01.wav").channels == 2
    [aiff] = (corpora / "tess").rglob("YAF_germ_angry.wav")
    assert soundfile.info(aiff).format == "AIFF"
    assert np.abs(decode(corpora / "cremad/AudioWAV/1008_WSI_SAD_XX.wav").samples).max() == 0


def test_the_recordings_that_the_quickstart_predicts_are_regular(corpora):
    makefile = (Path(__file__).parents[3] / "Makefile").read_text()
    [name] = re.findall(r"ser predict data/synthetic/(\w+) ", makefile)
    files = [path for path in (corpora / name).rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        samples, _ = soundfile.read(path)
        assert np.abs(samples).max() > 0.01


def test_existing_folders_are_never_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"data\.synthetic="):
        ensure_corpora(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_folders_of_earlier_versions_are_accepted(tmp_path):
    """The notice was worded differently; the audio is the same."""
    (tmp_path / "SYNTHETIC.txt").write_text("Synthetic audio, version 1.\nOther words.\n")
    assert ensure_corpora(tmp_path) == tmp_path


def test_nothing_is_printed_to_standard_output(tmp_path, monkeypatch, capfd):
    """It is for the results of a command, such as `ser predict`."""
    clips = [clip(emotion, f"savee/{emotion}") for emotion in (Emotion.SAD, Emotion.HAPPY)]
    monkeypatch.setattr(synthetic, "STAND_INS", {"savee": lambda: iter(clips)})
    monkeypatch.setattr(synthetic, "add_oddities", lambda folder: None)
    ensure_corpora(tmp_path / "s")
    assert len(list((tmp_path / "s/savee").iterdir())) == 2
    assert capfd.readouterr().out == ""


def test_finished_corpora_are_not_rewritten(corpora):
    before = [path.stat().st_mtime_ns for path in sorted(corpora.rglob("*"))]
    assert ensure_corpora(corpora) == corpora
    assert [path.stat().st_mtime_ns for path in sorted(corpora.rglob("*"))] == before


@pytest.mark.slow
def test_length_and_level_of_a_clip_do_not_depend_on_its_emotion(
    corpora: Path, cache_dir: Path, build_manifest: Any
):
    """A classifier on length and level alone is at chance."""
    names = ("ravdess", "cremad", "savee")
    table = build_manifest(cache_dir, **{name: corpora / name for name in names}).utterances
    cache = AudioCache(cache_dir)
    peaks = [np.abs(cache.read(content)).max() for content in table["content"]]
    features = np.column_stack([table["seconds"], table["seconds"] ** 2, peaks])
    labels = table["emotion"].map(LABELS.index).to_numpy()
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    uar = cross_val_score(model, features, labels, scoring="balanced_accuracy", cv=5).mean()
    assert uar < 0.2  # chance is 0.125


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_an_error_of_the_system():
    """libsndfile, which writes files itself, has an error of its own without a number."""
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        synthetic.write_clip(Path("/dev/full"), np.zeros(16_000), 16_000)
    assert caught.value.errno == errno.ENOSPC
