import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from ser.audio import SAMPLE_RATE, AudioCache
from ser.exposure import NEAR, Exposure, examine, fingerprint
from ser.synthetic import Clip, speak


def voice(take: str) -> np.ndarray:
    from ser.labels import Emotion

    return speak(Clip(take, "ravdess/3", "male", Emotion.HAPPY, "01", 16_000))


def table(cache: AudioCache, folder, rows) -> pd.DataFrame:
    """Utterances (id, speaker, sentence, waveform), written as files and decoded."""
    paths = [folder / f"{name}.wav" for name, *_ in rows]
    for path, (*_, waveform) in zip(paths, rows, strict=True):
        soundfile.write(path, waveform, SAMPLE_RATE)
    clips = cache.add(paths)
    frame = pd.DataFrame([row[:3] for row in rows], columns=pd.Index(["id", "speaker", "sentence"]))
    return frame.assign(
        corpus="ravdess",
        content=[clip.content for clip in clips],
        seconds=[clip.seconds for clip in clips],
    )


@pytest.fixture
def exposure(tmp_path) -> Exposure:
    cache, take = AudioCache(tmp_path / "cache"), voice("a")
    telephone = soxr.resample(soxr.resample(take, 16_000, 8_000), 8_000, 16_000)
    train = table(
        cache, tmp_path, [("t1", "s1", "01", take), ("t2", "s2", "02", voice("b")), ("t3", "s3", "", voice("c"))]
    )  # fmt: skip
    part = table(
        cache, tmp_path,
        [("copy", "s1", "01", 0.5 * telephone), ("other", "s1", "03", voice("d")), ("new", "s9", "02", take[80:])],
    )  # fmt: skip
    return examine(part, train, cache)


def test_speakers_and_sentences_met_in_training_are_counted(exposure):
    assert (exposure.speakers, exposure.seen_speakers) == (2, 1)
    assert (exposure.sentences, exposure.seen_sentences) == (3, 2)


def test_a_recoded_copy_by_the_same_speaker_is_found_and_another_take_is_none(exposure):
    assert (exposure.examined, exposure.near_copies) == (2, 1)


def test_it_is_said_in_words(exposure):
    assert exposure.describe() == (
        "1 of its 2 speakers were heard in training; 2 of its 3 sentences were, too;"
        " 1 of 2 recordings have a near copy there."
    )
    assert Exposure(5, 0, 0, 0, 0, 0).describe() == "None of its 5 speakers was heard in training."


def test_real_takes_and_real_copies_lie_on_either_side_of_the_threshold(real_audio):
    first, second = sorted((real_audio / "ravdess").rglob("03-01-03-01-01-0?-01.wav"))[:2]
    one, other = (soxr.resample(*read(path), 16_000) for path in (first, second))
    assert fingerprint(one) @ fingerprint(other) < NEAR
    assert fingerprint(one) @ fingerprint(np.float32(0.3) * one[100:]) > NEAR


def read(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate
