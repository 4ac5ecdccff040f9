import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser.audio import SAMPLE_RATE, load
from ser.cache import AudioCache, portions


def sources(*paths: Path, start: float = 0.0, end: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"path": list(map(str, paths)), "start": start, "end": end})


def add(folder: Path, *paths: Path) -> Any:
    """What a cache in this folder says of the first of these files."""
    return AudioCache(folder).add(sources(*paths)).iloc[0]


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.pcm")}


def index_of(folder: Path) -> Path:
    [index] = folder.rglob("*.csv")
    return index


def shard_of(folder: Path) -> Path:
    [shard] = folder.rglob("*.pcm")
    return shard


def test_the_cache_gives_back_what_was_decoded(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav", rate=48_000)
    clip = add(tmp_path / "cache", path)
    read = AudioCache(tmp_path / "cache").read(clip.content)
    np.testing.assert_allclose(read, load(path), atol=2e-5)


def test_16_bits_at_16_khz_are_kept_exactly(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    read = AudioCache(tmp_path / "cache")
    clip = read.add(sources(path)).iloc[0]
    exact, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read.read(clip.content), exact)


def test_a_quiet_recording_keeps_its_resolution(tmp_path):
    noise = np.random.default_rng(0).normal(0, 1e-3, 1600)
    soundfile.write(tmp_path / "quiet.wav", noise, 16_000, subtype="FLOAT")
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(tmp_path / "quiet.wav")).iloc[0]
    np.testing.assert_allclose(cache.read(clip.content), noise, atol=1e-3 / 5000)


def test_samples_far_over_full_scale_are_scaled_down(tmp_path):
    tone = np.sin(np.arange(1600) / 10)
    soundfile.write(tmp_path / "loud.wav", tone * 1e30, 16_000, subtype="FLOAT")
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(tmp_path / "loud.wav")).iloc[0]
    np.testing.assert_allclose(cache.read(clip.content), tone / np.abs(tone).max(), atol=1e-4)


def test_unchanged_files_are_not_decoded_again_and_changed_ones_are(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    before = add(tmp_path / "cache", path)
    first = shards(tmp_path / "cache")
    pd.testing.assert_series_equal(add(tmp_path / "cache", path), before)
    assert shards(tmp_path / "cache") == first
    write_tone(path, pitch=330)
    os.utime(path, ns=(1, 1))
    assert add(tmp_path / "cache", path).content != before.content


def test_equal_recordings_are_kept_once(tmp_path, write_tone):
    paths = [write_tone(tmp_path / f"{name}.wav") for name in "abc"]
    add(tmp_path / "cache", paths[0], paths[1])
    size = shard_of(tmp_path / "cache").stat().st_size
    clip = add(tmp_path / "cache", paths[2])
    assert size == 2 * SAMPLE_RATE // 2
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.pcm")) == size
    assert len(AudioCache(tmp_path / "cache").read(clip.content)) == SAMPLE_RATE // 2


def test_a_part_of_a_file_is_read_alone(tmp_path):
    ramp = np.linspace(-0.5, 0.5, 32_000)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16_000)
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(tmp_path / "ramp.wav", start=0.5, end=1.25)).iloc[0]
    assert clip.seconds == 0.75
    np.testing.assert_allclose(cache.read(clip.content), ramp[8000:20_000], atol=1e-4)
    late = cache.add(sources(tmp_path / "ramp.wav", start=1.5, end=2.5)).iloc[0]
    assert (late.fault, late.detail) == (
        "out_of_range",
        "1.5 s to 2.5 s, but the file lasts 2.00 s",
    )


def test_processes_find_what_threads_find(tmp_path, write_tone, monkeypatch):
    paths = [write_tone(tmp_path / f"{pitch}.wav", pitch=pitch) for pitch in range(200, 280)]
    paths[40].write_bytes(b"no audio")
    asked = sources(*paths, paths[3])
    threads = AudioCache(tmp_path / "threads").add(asked)
    monkeypatch.setattr("ser.cores.PROCESSES_FROM", 1)
    cache = AudioCache(tmp_path / "processes")
    processes = cache.add(asked)
    places = ["shard", "offset"]
    pd.testing.assert_frame_equal(processes.drop(columns=places), threads.drop(columns=places))
    heard = cache.read(processes["content"].iloc[70])
    np.testing.assert_allclose(heard, load(paths[70]), atol=2e-5)
    assert len(shards(tmp_path / "processes")) > 1


def test_portions_are_cut_where_files_are_large(monkeypatch):
    monkeypatch.setattr("ser.cache.BYTES_PER_SHARD", 100)
    parts = [("long.wav", 0.0, 1.0, 90), ("long.wav", 1.0, 2.0, 90), ("b.wav", 0.0, 0.0, 20)]
    table = pd.DataFrame([*parts, ("c.wav", 0.0, 0.0, 20)])
    names = [[path for path, *_ in some] for some in portions(table, 4)]
    assert names == [["long.wav", "long.wav", "b.wav"], ["c.wav"]]


def test_facts_come_back_in_the_order_asked_for(tmp_path, write_tone):
    paths = [write_tone(tmp_path / f"{pitch}.wav", pitch=pitch) for pitch in (300, 100, 200)]
    asked = sources(*paths, paths[0]).set_index(pd.Index([7, 3, 5, 1]))
    found = AudioCache(tmp_path / "cache").add(asked)
    assert found.index.tolist() == [7, 3, 5, 1]
    assert found["path"].tolist() == asked["path"].tolist()


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b""])
def test_a_cut_shard_is_decoded_anew(tmp_path, write_tone, damage):
    path = write_tone(tmp_path / "a.wav")
    add(tmp_path / "cache", path)
    shard = shard_of(tmp_path / "cache")
    shard.write_bytes(damage(shard.read_bytes()))
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(path)).iloc[0]
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2


@pytest.mark.parametrize("damage", [b"", b"path,size\n1,2\n", b"\xff\xfe\x00rubbish"])
def test_a_damaged_index_is_decoded_anew(tmp_path, write_tone, damage):
    path = write_tone(tmp_path / "a.wav")
    add(tmp_path / "cache", path)
    index_of(tmp_path / "cache").write_bytes(damage)
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(path)).iloc[0]
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2


def test_a_changed_digit_in_an_index_is_noticed(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    clip = add(tmp_path / "cache", path)
    index = index_of(tmp_path / "cache")
    index.write_text(index.read_text().replace(clip.content, clip.content[::-1]))
    assert add(tmp_path / "cache", path).content == clip.content


def test_changed_samples_are_read_from_their_file_and_then_decoded_anew(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    clip = add(tmp_path / "cache", path)
    shard = shard_of(tmp_path / "cache")
    shard.write_bytes(bytes(shard.stat().st_size))
    expected, _ = soundfile.read(path, dtype="float32")
    for _ in range(2):
        cache = AudioCache(tmp_path / "cache")
        cache.add(sources(path))
        np.testing.assert_array_equal(cache.read(clip.content), expected)
    assert shard_of(tmp_path / "cache") != shard


def test_changed_samples_whose_file_has_gone_are_an_error(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    clip = add(tmp_path / "cache", path)
    cache = AudioCache(tmp_path / "cache")
    shard = shard_of(tmp_path / "cache")
    shard.write_bytes(bytes(shard.stat().st_size))
    path.unlink()
    with pytest.raises(ValueError, match=r"is damaged, and .*a\.wav is not what it was"):
        cache.read(clip.content)


def test_what_an_interrupted_run_left_behind_does_no_harm(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    (cache.folder / ".0123.pcm.99.tmp").write_bytes(b"half a shard")
    (cache.folder / "4567.pcm").write_bytes(b"a shard without its index")
    clip = cache.add(sources(path)).iloc[0]
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2
    assert shards(tmp_path / "cache") == {f"{clip.shard}.pcm"}
    assert not list(cache.folder.glob(".*.tmp"))


def test_a_lack_of_room_is_named_with_what_to_do(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # bytes in a file
    try:
        with pytest.raises(OSError, match=r"cannot be written to .*cache.*make room, or move"):
            cache.add(sources(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert cache.add(sources(path)).iloc[0].fault == ""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_can_be_repeated(tmp_path, write_tone):
    paths = [write_tone(tmp_path / f"{n}.wav", pitch=100 + n, rate=44_100) for n in range(1500)]
    code = (
        "import sys; from pathlib import Path; import pandas as pd; from ser.cache import AudioCache;"
        "paths = sorted(map(str, Path(sys.argv[1]).glob('*.wav')));"
        "AudioCache(Path(sys.argv[2])).add(pd.DataFrame({'path': paths, 'start': 0.0, 'end': 0.0}))"
    )
    for wait in (0.8, 1.0, 1.2, 1.4, 1.6, 1.8):
        run = subprocess.Popen([sys.executable, "-c", code, tmp_path, tmp_path / "cache"])
        time.sleep(wait)
        run.send_signal(signal.SIGKILL)
        run.wait()
    cache = AudioCache(tmp_path / "cache")
    clips = cache.add(sources(*paths))
    assert (clips["fault"] == "").all()
    for content in clips["content"].iloc[::100]:
        assert len(cache.read(content)) == SAMPLE_RATE // 2


def fill(folder: Path, path: Path) -> None:
    add(folder, path)


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


def test_recordings_travel_to_another_process(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    recordings = cache.recordings(cache.add(sources(path))["content"].tolist())
    before = recordings[0]
    sent = pickle.dumps(recordings)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent)[0], before)


def test_a_cache_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"data\.cache_dir=.*file cannot be used"):
        AudioCache(tmp_path / "file")


def test_an_index_that_fits_its_checksum_and_cannot_be_read_is_decoded_anew(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    before = add(tmp_path / "cache", path)
    content = index_of(tmp_path / "cache").read_bytes().replace(b"a.wav", b"a\r.wav")
    shard = index_of(tmp_path / "cache").name.split(".")[0]
    index_of(tmp_path / "cache").unlink()
    folder = next((tmp_path / "cache").iterdir())
    (folder / f"{shard}.{zlib.crc32(content):08x}.csv").write_bytes(content)
    assert add(tmp_path / "cache", path)["content"] == before["content"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.wav")
    clip = add(tmp_path / "cache", tmp_path / "p.wav")
    assert clip["fault"] == "unreadable"
    assert "pipe" in clip["detail"]
