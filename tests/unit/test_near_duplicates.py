from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from ser.audio import load
from ser.cache import AudioCache
from ser.labels import Emotion
from ser.near_duplicates import count_frequent, group_recordings, sum_up
from ser.synthetic import SyntheticClip, speak


def voice(name: str, emotion: Emotion = Emotion.HAPPY) -> np.ndarray:
    return speak(SyntheticClip(name, "x/1", "female", emotion, "1", 16_000))


def group(folder: Path, *paths: Path) -> list[str]:
    """The recording that each file is found to be."""
    cache = AudioCache(folder / "cache")
    clips = cache.add(pd.DataFrame({"path": list(map(str, paths)), "start": 0.0, "end": 0.0}))
    assert (clips["fault"] == "").all()
    recordings = group_recordings(clips["content"].tolist(), cache)
    return clips["content"].map(recordings).tolist()


def write(path: Path, samples: np.ndarray, rate: int = 16_000, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def test_a_copy_is_found_however_it_was_made(tmp_path):
    samples = voice("a")
    length = len(samples)
    copies = {
        "louder": samples * 1.4,
        "begin": samples[length // 4 + 37 :],
        "middle": samples[length // 6 + 11 : -length // 6],
        "padded": np.concatenate([np.zeros(5000), samples, np.zeros(3000)]),
    }
    paths = [write(tmp_path / "original.wav", samples)]
    paths += [write(tmp_path / f"{name}.wav", copy) for name, copy in copies.items()]
    paths.append(write(tmp_path / "a.mp3", samples, format="MP3"))
    paths.append(write(tmp_path / "a.ogg", samples))
    low = soxr.resample(samples, 16_000, 11_025)
    paths.append(write(tmp_path / "low.wav", low, 11_025))
    assert len(set(group(tmp_path, *paths))) == 1


def test_other_recordings_of_one_speaker_are_no_copies(tmp_path):
    emotions = (Emotion.HAPPY, Emotion.SAD, Emotion.ANGRY, Emotion.CALM)
    paths = [
        write(tmp_path / f"{take}_{emotion}.wav", voice(f"{take}", emotion))
        for emotion in emotions
        for take in range(6)
    ]
    assert len(set(group(tmp_path, *paths))) == len(paths)


def test_the_result_is_kept_and_found_again(tmp_path):
    paths = [write(tmp_path / f"{n}.wav", voice(str(n))) for n in range(3)]
    first = group(tmp_path, *paths)
    [kept] = (tmp_path / "cache").rglob("near-*.tsv")
    pair = f"{first[0]}\t{first[1]}\n"  # only read back, as the contents are the same
    kept.write_text(f"{sum_up([pair])}\n{pair}")
    assert len(set(group(tmp_path, *paths))) == 2


def test_clips_too_short_for_a_spectrum_are_recordings_of_their_own(tmp_path):
    paths = [write(tmp_path / f"{n}.wav", np.sin(np.arange(300) * n)) for n in (1, 2)]
    assert len(set(group(tmp_path, *paths))) == 2


def test_real_takes_of_one_sentence_are_no_copies_and_real_copies_are_found(tmp_path, real_audio):
    originals = sorted((real_audio / "tess").rglob("YAF_*_sad.wav"))
    originals += sorted((real_audio / "ravdess/Actor_01").glob("*.wav"))
    samples = load(originals[0])
    copies = [
        write(tmp_path / "trimmed.wav", samples[4001:]),
        write(tmp_path / "encoded.ogg", samples),
    ]
    found = group(tmp_path, *originals, *copies)
    assert len(set(found)) == len(originals)
    assert found[-1] == found[-2] == found[0]


@pytest.mark.slow
def test_all_real_recordings_are_told_apart(tmp_path, real_audio):
    paths = sorted(real_audio.rglob("*.wav"))
    assert len(set(group(tmp_path, *paths))) == len(paths) - 1  # RAVDESS has one pair of equals


@pytest.mark.parametrize("times", [1, 5, 6, 9])
def test_only_what_is_there_often_is_counted(times):
    values = np.random.default_rng(0).permutation([*range(50), *[70] * times, *[80] * 6])
    frequent, counts = count_frequent(values, 6)
    expected = {80: 6} | ({70: times} if times >= 6 else {})
    assert dict(zip(frequent.tolist(), counts.tolist(), strict=True)) == expected


@pytest.mark.parametrize("damage", [b"", b"\xfe\x00 what", b"a\tb\n"])
def test_a_damaged_result_is_found_anew(tmp_path, damage):
    first = write(tmp_path / "a.wav", voice("a"))
    copy = write(tmp_path / "b.flac", voice("a")[400:])
    before = group(tmp_path, first, copy)
    [kept] = (tmp_path / "cache").rglob("near-*.tsv")
    kept.write_bytes(damage)
    assert group(tmp_path, first, copy) == before
    assert len(set(before)) == 1
