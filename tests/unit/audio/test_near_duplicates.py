import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from ser.audio.cache import AudioCache
from ser.audio.decode import load
from ser.audio.examine import checksum
from ser.audio.landmarks import HOP, count_frequent, find_landmarks, running_max
from ser.audio.near_duplicates import VERSION, correlate, group_recordings, voice_band
from ser.audio.recording import Waveform
from ser.corpora.emotions import Emotion
from ser.corpora.synthetic import SyntheticClip, speak


def voice(name: str, emotion: Emotion = Emotion.HAPPY) -> Waveform:
    return speak(SyntheticClip(name, "x/1", "female", emotion, "1", 16_000))


def group(folder: Path, *paths: Path) -> list[str]:
    """For each file, the hash of the recording that it is a copy of."""
    cache = AudioCache(folder / "cache")
    clips = cache.add(pd.DataFrame({"path": list(map(str, paths)), "start": 0.0, "end": 0.0}))
    assert (clips["fault"] == "").all()
    recordings = group_recordings(clips["content"].tolist(), cache)
    return clips["content"].map(recordings).tolist()


def write(path: Path, samples: np.ndarray, rate: int = 16_000, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def narrow(samples: Waveform) -> Waveform:
    """A telephone copy: 8 kHz, mu-law."""
    buffer, low = io.BytesIO(), soxr.resample(samples, 16_000, 8000)
    soundfile.write(buffer, 0.9 * low / np.abs(low).max(), 8000, format="WAV", subtype="ULAW")
    buffer.seek(0)
    return soxr.resample(soundfile.read(buffer, dtype="float32")[0], 8000, 16_000)


def noisy(samples: Waveform) -> Waveform:
    noise = np.random.default_rng(0).normal(0, np.std(samples) / 10, len(samples))
    return (samples + noise).astype(np.float32)


COPIES: dict[str, Callable[[Waveform], Waveform]] = {
    "louder": lambda samples: samples * 1.4,
    "inverted": lambda samples: -samples,
    "narrow": narrow,
    "narrow and inverted": lambda samples: -narrow(samples),
    "without its begin": lambda samples: samples[len(samples) // 4 + 37 :],
    "without its ends": lambda samples: samples[len(samples) // 6 + 11 : -len(samples) // 6],
    "padded by half a frame": lambda samples: np.pad(samples, (HOP * 26 + HOP // 2, 3000)),
    "noisy": noisy,
}


def test_a_copy_is_found_however_it_was_made(tmp_path):
    samples = voice("a")
    paths = [write(tmp_path / "original.wav", samples)]
    paths += [write(tmp_path / f"{name}.wav", copy(samples)) for name, copy in COPIES.items()]
    paths.append(write(tmp_path / "a.mp3", samples, format="MP3"))
    paths.append(write(tmp_path / "a.ogg", samples))
    paths.append(write(tmp_path / "low.wav", soxr.resample(samples, 16_000, 11_025), 11_025))
    assert len(set(group(tmp_path, *paths))) == 1


def test_other_recordings_of_one_speaker_are_not_copies(tmp_path):
    emotions = (Emotion.HAPPY, Emotion.SAD, Emotion.ANGRY, Emotion.CALM)
    paths = [
        write(tmp_path / f"{take}_{emotion}.wav", voice(f"{take}", emotion))
        for emotion in emotions
        for take in range(6)
    ]
    assert len(set(group(tmp_path, *paths))) == len(paths)


def test_the_result_is_kept_with_its_version(tmp_path):
    paths = [write(tmp_path / f"{n}.wav", voice(str(n))) for n in range(3)]
    first = group(tmp_path, *paths)
    [kept] = (tmp_path / "cache").rglob("near-*.tsv")
    assert kept.name.startswith(f"near-{VERSION}-")
    pair = f"{first[0]}\t{first[1]}\n"  # it is only read, because the contents are the same
    kept.write_text(f"{checksum(pair.encode())}\n{pair}")
    assert len(set(group(tmp_path, *paths))) == 2


@pytest.mark.parametrize("damage", [b"", b"\xfe\x00 what", b"a\tb\n"])
def test_a_damaged_result_is_searched_for_again(tmp_path, damage, caplog):
    first = write(tmp_path / "a.wav", voice("a"))
    copy = write(tmp_path / "b.flac", voice("a")[400:])
    before = group(tmp_path, first, copy)
    [kept] = (tmp_path / "cache").rglob("near-*.tsv")
    kept.write_bytes(damage)
    assert group(tmp_path, first, copy) == before
    assert len(set(before)) == 1
    assert "is damaged" in caplog.text


def test_clips_too_short_for_a_spectrum_are_not_copies(tmp_path):
    paths = [write(tmp_path / f"{n}.wav", np.sin(np.arange(300) * n)) for n in (1, 2)]
    assert len(set(group(tmp_path, *paths))) == 2


def test_takes_of_one_real_sentence_are_not_copies_and_real_copies_are_found(tmp_path, real_audio):
    originals = sorted((real_audio / "tess").rglob("YAF_*_sad.wav"))
    originals += sorted((real_audio / "ravdess/Actor_01").glob("*.wav"))
    samples = load(originals[0])
    copies = [write(tmp_path / f"{name}.wav", copy(samples)) for name, copy in COPIES.items()]
    copies.append(write(tmp_path / "encoded.ogg", samples))
    found = group(tmp_path, *originals, *copies)
    assert len(set(found)) == len(originals)
    assert set(found[len(originals) :]) == {found[0]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["narrow", "inverted", "padded by half a frame"])
def test_copies_of_all_real_recordings_are_found(kind, tmp_path, real_audio):
    originals = sorted(real_audio.rglob("*.wav"))
    copies = [
        write(tmp_path / f"{number}.wav", COPIES[kind](load(path)), subtype="FLOAT")
        for number, path in enumerate(originals)
    ]
    found = group(tmp_path, *originals, *copies)
    assert len(set(found[: len(originals)])) == len(originals) - 1  # RAVDESS has one equal pair
    pairs = zip(found, found[len(originals) :], strict=False)
    assert np.mean([original == copy for original, copy in pairs]) > 0.98


def test_correlation_ignores_sign_and_finds_the_exact_offset():
    original = voice_band(voice("a"))
    for late in (-700, 0, 1234):
        copy = np.pad(-original, (late, 0)) if late > 0 else -original[-late:]
        for off in (-100, 0, 100):  # of the offset that landmarks give
            assert correlate(original, copy, late + off) > 0.99
    assert correlate(original, voice_band(voice("b")), 0) < 0.5
    assert correlate(original, original[-len(original) // 3 :], 0) < 0.5


@pytest.mark.parametrize("width", [1, 3, 9, 15])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_running_maximum(width, count):
    values = np.random.default_rng(0).random((count, 2)).astype(np.float32)
    side = width // 2
    expected = [values[max(0, row - side) : row + side + 1].max(axis=0) for row in range(count)]
    np.testing.assert_array_equal(running_max(values, width), expected)


def test_landmarks_do_not_depend_on_level():
    samples = voice("a")
    quiet, loud = find_landmarks(samples / np.float32(1000)), find_landmarks(samples)
    assert len(loud) > 20
    assert len(np.intersect1d(quiet, loud)) > 0.95 * len(loud)


@pytest.mark.parametrize("times", [1, 5, 6, 9])
def test_only_frequent_values_are_counted(times):
    values = np.sort([*range(50), *[70] * times, *[80] * 6])
    frequent, counts = count_frequent(values, 6)
    expected = {80: 6} | ({70: times} if times >= 6 else {})
    assert dict(zip(frequent.tolist(), counts.tolist(), strict=True)) == expected
    assert count_frequent(values[:3], 6)[0].tolist() == []
