import multiprocessing
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cache_contents import add, index_of, shard_of, shards, sources

from ser.audio.cache import AudioCache
from ser.audio.recording import SAMPLE_RATE
from ser.errors import UserError


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b""])
def test_a_cut_shard_is_decoded_again(tmp_path, write_tone, damage):
    path = write_tone(tmp_path / "a.wav")
    add(tmp_path / "cache", path)
    shard = shard_of(tmp_path / "cache")
    shard.write_bytes(damage(shard.read_bytes()))
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(path)).iloc[0]
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2


@pytest.mark.parametrize("damage", [b"", b"path,size\n1,2\n", b"\xff\xfe\x00rubbish"])
def test_the_files_of_a_damaged_index_are_decoded_again(tmp_path, write_tone, damage, caplog):
    path = write_tone(tmp_path / "a.wav")
    add(tmp_path / "cache", path)
    index_of(tmp_path / "cache").write_bytes(damage)
    cache = AudioCache(tmp_path / "cache")
    assert "is damaged" in caplog.text
    clip = cache.add(sources(path)).iloc[0]
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2
    caplog.clear()
    AudioCache(tmp_path / "cache")  # it was repaired
    assert not caplog.text


def test_a_changed_digit_in_an_index_is_detected(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    clip = add(tmp_path / "cache", path)
    index = index_of(tmp_path / "cache")
    index.write_text(index.read_text().replace(clip.content, clip.content[::-1]))
    assert add(tmp_path / "cache", path).content == clip.content


def test_changed_samples_are_read_from_their_file_and_decoded_again_by_the_next_run(
    tmp_path, write_tone
):
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


def test_changed_samples_whose_file_is_missing_are_an_error(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    clip = add(tmp_path / "cache", path)
    cache = AudioCache(tmp_path / "cache")
    shard = shard_of(tmp_path / "cache")
    shard.write_bytes(bytes(shard.stat().st_size))
    path.unlink()
    with pytest.raises(ValueError, match=r"is damaged, and .*a\.wav has changed since"):
        cache.read(clip.content)


def test_leftovers_of_an_interrupted_run_are_removed(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    (cache.folder / ".0123.89abcdef.csv.01234567-99-012345.tmp").write_bytes(b"half a shard")
    (cache.folder / "4567.pcm").write_bytes(b"a shard without its index")
    clip = cache.add(sources(path)).iloc[0]
    assert len(cache.read(clip.content)) == SAMPLE_RATE // 2
    assert shards(tmp_path / "cache") == {f"{clip.shard}.pcm"}
    assert not list(cache.folder.glob(".*.tmp"))


def test_a_full_disk_is_reported_with_a_remedy(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # bytes in a file
    try:
        with pytest.raises(UserError, match=r"cannot be written to .*cache.*make room, or move"):
            cache.add(sources(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert cache.add(sources(path)).iloc[0].fault == ""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_can_be_repeated(tmp_path, write_tone):
    paths = [write_tone(tmp_path / f"{n}.wav", pitch=100 + n, rate=44_100) for n in range(1500)]
    code = (
        "import sys; from pathlib import Path; import pandas as pd; from ser.audio.cache import AudioCache;"
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


def test_the_files_of_an_unreadable_index_with_a_valid_checksum_are_decoded_again(
    tmp_path, write_tone
):
    path = write_tone(tmp_path / "a.wav")
    before = add(tmp_path / "cache", path)
    content = index_of(tmp_path / "cache").read_bytes().replace(b"a.wav", b"a\r.wav")
    shard = index_of(tmp_path / "cache").name.split(".")[0]
    index_of(tmp_path / "cache").unlink()
    folder = next((tmp_path / "cache").iterdir())
    (folder / f"{shard}.{zlib.crc32(content):08x}.csv").write_bytes(content)
    assert add(tmp_path / "cache", path)["content"] == before["content"]
