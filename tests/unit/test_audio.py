import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.audio import SAMPLE_RATE, AudioCache, Fault, decode, examine, resample


def test_stereo_is_mixed_to_the_mean_of_its_channels(tmp_path):
    left, right = np.full(800, 0.5), np.full(800, 0.1)
    soundfile.write(tmp_path / "s.wav", np.column_stack([left, right]), 8000, subtype="FLOAT")
    waveform, rate, _, channels = decode(tmp_path / "s.wav")
    assert (rate, channels, waveform.shape) == (8000, 2, (800,))
    np.testing.assert_allclose(waveform, 0.3, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "AIFF", "subtype": "PCM_16"},
        {"format": "FLAC"},
        {"subtype": "PCM_24"},
        {"subtype": "FLOAT"},
        {"subtype": "PCM_U8"},
    ],
)
def test_the_content_decides_how_a_wav_file_is_read(tmp_path, write_tone, options):
    clip, samples = examine(write_tone(tmp_path / "tone.wav", **options))
    assert clip.fault == ""
    assert len(samples) == SAMPLE_RATE // 2
    assert clip.peak == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("rate", [8000, 24_414, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_tone_in_place(rate):
    time = np.arange(rate) / rate
    tone = resample(np.sin(2 * np.pi * 440 * time).astype(np.float32), rate)
    assert len(tone) == SAMPLE_RATE
    expected = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    np.testing.assert_allclose(tone[800:-800], expected[800:-800], atol=2e-3)


def write_fault(folder: Path, fault: Fault, write_tone) -> Path:
    path = folder / f"{fault}.wav"
    if fault == Fault.EMPTY:
        path.touch()
    elif fault == Fault.LFS_POINTER:
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 72862\n")
    elif fault == Fault.NOT_AUDIO:
        path.write_text("<html>Not found</html>" * 20)
    elif fault == Fault.TRUNCATED:
        whole = write_tone(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif fault == Fault.NOT_FINITE:
        soundfile.write(path, np.full(1600, np.nan), 16_000, subtype="FLOAT")
    elif fault == Fault.SILENT:
        soundfile.write(path, np.full(1600, 5e-4), 16_000)
    elif fault == Fault.UNREADABLE:
        path.symlink_to(folder / "gone")
    return path


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault_is_told_by_name(tmp_path, write_tone, fault):
    clip, samples = examine(write_fault(tmp_path, fault, write_tone))
    assert clip.fault == fault
    assert len(samples) == 0


def test_a_file_without_samples_is_empty(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    assert examine(tmp_path / "none.wav")[0].fault == Fault.EMPTY


def test_content_is_the_same_in_another_container_and_other_at_another_pitch(tmp_path, write_tone):
    wav = examine(write_tone(tmp_path / "a.wav"))[0]
    aiff = examine(write_tone(tmp_path / "b.wav", format="AIFF", subtype="PCM_16"))[0]
    other = examine(write_tone(tmp_path / "c.wav", pitch=221))[0]
    assert wav.content == aiff.content != other.content


def test_the_cache_gives_back_what_was_decoded(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav", rate=48_000)
    cache = AudioCache(tmp_path / "cache")
    [clip] = cache.add([path])
    waveform, rate, _, _ = decode(path)
    np.testing.assert_allclose(cache.read(clip.content), resample(waveform, rate), atol=2e-5)


def test_a_quiet_recording_keeps_its_resolution(tmp_path):
    noise = np.random.default_rng(0).normal(0, 1e-3, 1600)
    soundfile.write(tmp_path / "quiet.wav", noise, 16_000, subtype="FLOAT")
    cache = AudioCache(tmp_path / "cache")
    [clip] = cache.add([tmp_path / "quiet.wav"])
    np.testing.assert_allclose(cache.read(clip.content), noise, atol=1e-3 / 5000)


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.pcm")}


def test_unchanged_files_are_not_decoded_again_and_changed_ones_are(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    [before] = AudioCache(tmp_path / "cache").add([path])
    first = shards(tmp_path / "cache")
    assert AudioCache(tmp_path / "cache").add([path]) == [before]
    assert shards(tmp_path / "cache") == first
    write_tone(path, pitch=330)
    os.utime(path, ns=(1, 1))
    [after] = AudioCache(tmp_path / "cache").add([path])
    assert after.content != before.content


def test_a_damaged_shard_is_decoded_anew(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    AudioCache(tmp_path / "cache").add([path])
    [shard] = (tmp_path / "cache").rglob("*.pcm")
    shard.write_bytes(shard.read_bytes()[:100])
    cache = AudioCache(tmp_path / "cache")
    [clip] = cache.add([path])
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2


def test_what_an_interrupted_run_left_behind_does_no_harm(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    (cache.folder / "0123.tmp").write_bytes(b"half a shard")
    (cache.folder / "4567.pcm").write_bytes(b"a shard without its index")
    [clip] = cache.add([path])
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2


def fill(folder: Path, path: Path) -> None:
    AudioCache(folder).add([path])


def test_two_runs_at_once_decode_a_file_once(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav", seconds=5)
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=fill, args=(tmp_path / "cache", path)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert len(shards(tmp_path / "cache")) == 1


def test_content_tells_sample_rates_apart(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / "slow.wav", noise, 8000)
    soundfile.write(tmp_path / "fast.wav", noise, 16_000)
    assert examine(tmp_path / "slow.wav")[0].content != examine(tmp_path / "fast.wav")[0].content


def test_a_clip_of_less_than_a_sample_is_empty(tmp_path):
    soundfile.write(tmp_path / "blip.wav", np.array([0.5, 0.5]), 96_000)
    assert examine(tmp_path / "blip.wav")[0].fault == Fault.EMPTY


def test_samples_far_over_full_scale_are_scaled_down(tmp_path):
    tone = np.sin(np.arange(1600) / 10)
    soundfile.write(tmp_path / "loud.wav", tone * 1e30, 16_000, subtype="FLOAT")
    cache = AudioCache(tmp_path / "cache")
    [clip] = cache.add([tmp_path / "loud.wav"])
    np.testing.assert_allclose(cache.read(clip.content), tone / np.abs(tone).max(), atol=1e-4)


@pytest.mark.parametrize("damage", [b"", b"path,size\n1,2\n", b"\xff\xfe\x00rubbish"])
def test_a_damaged_index_is_decoded_anew(tmp_path, write_tone, damage):
    path = write_tone(tmp_path / "a.wav")
    AudioCache(tmp_path / "cache").add([path])
    [index] = (tmp_path / "cache").rglob("*.csv")
    index.write_bytes(damage)
    cache = AudioCache(tmp_path / "cache")
    [clip] = cache.add([path])
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2


def test_changed_samples_in_the_cache_are_noticed(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    [clip] = AudioCache(tmp_path / "cache").add([path])
    [shard] = (tmp_path / "cache").rglob("*.pcm")
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(ValueError, match=r"\.pcm is damaged: delete it"):
        AudioCache(tmp_path / "cache").read(clip.content)


def test_a_cache_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"data\.cache_dir=.*file cannot be used"):
        AudioCache(tmp_path / "file")


@pytest.mark.parametrize("rate", [24_414, 48_000])
def test_decoding_gives_what_librosa_gives(tmp_path, rate):
    import librosa

    noise = np.random.default_rng(0).normal(0, 0.1, (rate, 2))
    soundfile.write(tmp_path / "noise.wav", noise, rate)
    expected, _ = librosa.load(tmp_path / "noise.wav", sr=SAMPLE_RATE)
    waveform, sample_rate, _, _ = decode(tmp_path / "noise.wav")
    np.testing.assert_allclose(resample(waveform, sample_rate), expected, atol=1e-5)
