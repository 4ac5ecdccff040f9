import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from ser.audio import decode
from ser.cache import AudioCache
from ser.labels import LABELS, Emotion
from ser.synthetic import SyntheticClip, ensure_corpora, speak


def clip(emotion: Emotion, name: str = "x") -> SyntheticClip:
    return SyntheticClip(f"{name}.wav", "ravdess/1", "male", emotion, "01", 16_000)


def test_the_same_clip_is_the_same_on_every_machine():
    # Rounded, so that another processor's last bit does not matter.
    samples = np.round(speak(clip(Emotion.SAD)) * 1000).astype(np.int16)
    assert np.array_equal(samples, np.round(speak(clip(Emotion.SAD)) * 1000).astype(np.int16))
    assert (
        hashlib.sha256(samples.tobytes()).hexdigest()
        != hashlib.sha256(
            np.round(speak(clip(Emotion.SAD, "y")) * 1000).astype(np.int16).tobytes()
        ).hexdigest()
    )


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


def test_the_oddities_are_there(corpora):
    assert soundfile.info(corpora / "ravdess/Actor_01/03-01-02-01-01-02-01.wav").channels == 2
    [aiff] = (corpora / "tess").rglob("YAF_germ_angry.wav")
    assert soundfile.info(aiff).format == "AIFF"
    assert np.abs(decode(corpora / "cremad/AudioWAV/1008_WSI_SAD_XX.wav").samples).max() == 0


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        ensure_corpora(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_finished_corpora_are_not_written_again(corpora):
    before = [path.stat().st_mtime_ns for path in sorted(corpora.rglob("*"))]
    assert ensure_corpora(corpora) == corpora
    assert [path.stat().st_mtime_ns for path in sorted(corpora.rglob("*"))] == before


def test_length_and_level_of_a_clip_do_not_give_its_emotion_away(
    corpora: Path, cache_dir: Path, build_manifest: Any
):
    """A classifier that sees only these does no better than guessing."""
    names = ("ravdess", "cremad", "savee")
    table = build_manifest(cache_dir, **{name: corpora / name for name in names}).utterances
    cache = AudioCache(cache_dir)
    peaks = [np.abs(cache.read(content)).max() for content in table["content"]]
    features = np.column_stack([table["seconds"], table["seconds"] ** 2, peaks])
    labels = table["emotion"].map(LABELS.index).to_numpy()
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    uar = cross_val_score(model, features, labels, scoring="balanced_accuracy", cv=5).mean()
    assert uar < 0.2  # chance is 0.125
