import os
import pickle
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from cache_contents import add, index_of, shard_of, shards, sources

from ser.audio import cache as cache_module
from ser.audio.cache import AudioCache, portions
from ser.audio.decode import decode, load
from ser.audio.recording import SAMPLE_RATE


def test_cached_samples_are_the_decoded_ones(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav", rate=48_000)
    clip = add(tmp_path / "cache", path)
    read = AudioCache(tmp_path / "cache").read(clip.content)
    np.testing.assert_allclose(read, load(path), atol=2e-5)


def test_16_bit_samples_at_16_khz_are_stored_exactly(tmp_path, write_tone):
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


@pytest.mark.parametrize("loudness", [1.3, 32768.0])
def test_samples_above_full_scale_are_stored_as_prediction_reads_them(tmp_path, loudness):
    tone = np.sin(np.arange(1600) / 10) * loudness
    soundfile.write(tmp_path / "loud.wav", tone, 16_000, subtype="FLOAT")
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(tmp_path / "loud.wav")).iloc[0]
    np.testing.assert_allclose(cache.read(clip.content), tone, atol=1e-4 * loudness)


def test_only_changed_files_are_decoded_again(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    before = add(tmp_path / "cache", path)
    first = shards(tmp_path / "cache")
    pd.testing.assert_series_equal(add(tmp_path / "cache", path), before)
    assert shards(tmp_path / "cache") == first
    write_tone(path, pitch=330)
    os.utime(path, ns=(1, 1))
    assert add(tmp_path / "cache", path).content != before.content


def test_equal_recordings_are_stored_once(tmp_path, write_tone):
    paths = [write_tone(tmp_path / f"{name}.wav") for name in "abc"]
    add(tmp_path / "cache", paths[0], paths[1])
    size = shard_of(tmp_path / "cache").stat().st_size
    clip = add(tmp_path / "cache", paths[2])
    assert size == 2 * SAMPLE_RATE // 2
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.pcm")) == size
    assert len(AudioCache(tmp_path / "cache").read(clip.content)) == SAMPLE_RATE // 2


def test_part_of_a_file(tmp_path):
    ramp = np.linspace(-0.5, 0.5, 32_000)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16_000)
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(tmp_path / "ramp.wav", start=0.5, end=1.25)).iloc[0]
    assert clip.seconds == 0.75
    np.testing.assert_allclose(cache.read(clip.content), ramp[8000:20_000], atol=1e-4)
    late = cache.add(sources(tmp_path / "ramp.wav", start=1.5, end=2.5)).iloc[0]
    assert late.fault == "out_of_range"
    assert all(number in late.detail for number in ("1.5", "2.5", "2.00"))


@pytest.mark.parametrize(("end", "fault"), [(1.0, ""), (1.009, ""), (1.02, "out_of_range")])
def test_an_end_that_was_rounded_up_is_the_end_of_the_file(tmp_path, end, fault):
    ramp = np.linspace(-0.5, 0.5, 15_999)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16_000)
    cache = AudioCache(tmp_path / "cache")
    clip = cache.add(sources(tmp_path / "ramp.wav", start=0.5, end=end)).iloc[0]
    assert clip.fault == fault
    if not fault:
        np.testing.assert_allclose(cache.read(clip.content), ramp[8000:], atol=1e-4)


def test_processes_give_the_same_result_as_threads(tmp_path, write_tone, monkeypatch):
    paths = [write_tone(tmp_path / f"{pitch}.wav", pitch=pitch) for pitch in range(200, 280)]
    paths[40].write_bytes(b"no audio")
    asked = sources(*paths, paths[3])
    threads = AudioCache(tmp_path / "threads").add(asked)
    monkeypatch.setattr("ser.system.parallel.PROCESSES_FROM", 1)
    cache = AudioCache(tmp_path / "processes")
    processes = cache.add(asked)
    places = ["shard", "offset"]
    pd.testing.assert_frame_equal(processes.drop(columns=places), threads.drop(columns=places))
    samples = cache.read(processes["content"].iloc[70])
    np.testing.assert_allclose(samples, load(paths[70]), atol=2e-5)
    assert len(shards(tmp_path / "processes")) > 1


def test_large_files_make_small_portions(monkeypatch):
    monkeypatch.setattr("ser.audio.cache.BYTES_PER_SHARD", 100)
    parts = [("long.wav", 0.0, 1.0, 90), ("long.wav", 1.0, 2.0, 90), ("b.wav", 0.0, 0.0, 20)]
    table = pd.DataFrame([*parts, ("c.wav", 0.0, 0.0, 20)])
    names = [[path for path, *_ in some] for some in portions(table, 4)]
    assert names == [["long.wav", "long.wav", "b.wav"], ["c.wav"]]


def test_results_are_in_the_order_of_the_sources(tmp_path, write_tone):
    paths = [write_tone(tmp_path / f"{pitch}.wav", pitch=pitch) for pitch in (300, 100, 200)]
    asked = sources(*paths, paths[0]).set_index(pd.Index([7, 3, 5, 1]))
    found = AudioCache(tmp_path / "cache").add(asked)
    assert found.index.tolist() == [7, 3, 5, 1]
    assert found["path"].tolist() == asked["path"].tolist()


def test_recordings_can_be_pickled(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    cache = AudioCache(tmp_path / "cache")
    recordings = cache.recordings(cache.add(sources(path))["content"].tolist())
    before = recordings[0]
    sent = pickle.dumps(recordings)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent)[0], before)


def test_a_cache_folder_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"data\.cache_dir=.*file cannot be used"):
        AudioCache(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "p.wav")
    clip = add(tmp_path / "cache", tmp_path / "p.wav")
    assert clip["fault"] == "unreadable"
    assert "pipe" in clip["detail"]


def as_older_version(folder: Path) -> None:
    """Rewrite the indexes of a cache as versions without `note` and `decoder` wrote them."""
    for index in list(folder.rglob("*.csv")):
        content = pd.read_csv(index, keep_default_na=False, dtype=str)
        older = content.drop(columns=["note", "decoder"]).to_csv(index=False).encode()
        index.unlink()
        shard = index.name.split(".")[0]
        (index.parent / f"{shard}.{zlib.crc32(older):08x}.csv").write_bytes(older)


def test_an_older_cache_is_used_for_ordinary_files(tmp_path, write_tone):
    paths = [write_tone(tmp_path / "a.wav"), write_tone(tmp_path / "b.flac", rate=48_000)]
    before = AudioCache(tmp_path / "cache").add(sources(*paths))
    as_older_version(tmp_path / "cache")
    after = AudioCache(tmp_path / "cache").add(sources(*paths))
    changed = ["decoder", "note"]
    pd.testing.assert_frame_equal(after.drop(columns=changed), before.drop(columns=changed))
    assert len(shards(tmp_path / "cache")) == 1


def test_an_older_cache_is_not_trusted_where_the_decoder_was_wrong(tmp_path, write_tone):
    tone, rate = soundfile.read(write_tone(tmp_path / "mono.wav"))
    soundfile.write(tmp_path / "stereo.wav", np.column_stack([tone, -tone]), rate)
    write_tone(tmp_path / "a.mp3", format="MP3")
    (tmp_path / "fault.wav").write_text("it may be audio for the present decoder")
    names = ("mono.wav", "stereo.wav", "a.mp3", "fault.wav")
    wanted = sources(*[tmp_path / name for name in names])
    AudioCache(tmp_path / "cache").add(wanted)
    as_older_version(tmp_path / "cache")
    clips = AudioCache(tmp_path / "cache").add(wanted)
    assert (clips["decoder"] > 0).tolist() == [False, True, True, True]


def test_a_part_that_an_older_decoder_refused_is_decoded_again(tmp_path, write_tone):
    wanted = sources(write_tone(tmp_path / "a.wav"), end=0.505)  # the file lasts 0.5 s
    AudioCache(tmp_path / "cache").add(wanted)
    index = index_of(tmp_path / "cache")
    found = pd.read_csv(index, keep_default_na=False)
    older = found.assign(fault="out_of_range", content="", shard="", length=0, decoder=1)
    content = older.to_csv(index=False).encode()
    index.unlink()
    (index.parent / f"0123.{zlib.crc32(content):08x}.csv").write_bytes(content)
    assert AudioCache(tmp_path / "cache").add(wanted)["fault"].tolist() == [""]


def test_a_repair_is_recorded(tmp_path, write_tone):
    tone, rate = soundfile.read(write_tone(tmp_path / "mono.wav"))
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.column_stack([tone, -tone]), rate)
    for _ in range(2):  # decoded, and read from the index
        assert "opposite phase" in add(tmp_path / "cache", path)["note"]
    assert add(tmp_path / "cache", tmp_path / "mono.wav")["note"] == ""


def test_a_missing_package_is_not_remembered(tmp_path, write_recording, monkeypatch):
    path = write_recording("aac.m4a")
    monkeypatch.setitem(sys.modules, "av", None)
    assert add(tmp_path / "cache", path)["fault"] == "unsupported"
    assert not list((tmp_path / "cache").rglob("*.csv"))
    monkeypatch.undo()
    assert add(tmp_path / "cache", path)["fault"] == ""


@pytest.mark.parametrize("name", ["pcm16.wav", "a.flac", "a.mp3", "aac.m4a", "gsm.wav"])
def test_parts_in_any_order_are_those_of_the_whole(name, tmp_path, write_recording):
    path = write_recording(name)
    whole = decode(path)
    spans = [(1.0, 1.5), (0.25, 0.75), (0.0, 0.5), (1.25, 0.0), (0.25, 1.75), (1.9, 2.9)]
    table = pd.DataFrame([(str(path), *span) for span in spans], columns=["path", "start", "end"])
    clips = AudioCache(tmp_path / "cache").add(table)
    assert clips["fault"].tolist() == [""] * 5 + ["out_of_range"]
    for (start, end), content in zip(spans[:5], clips["content"][:5], strict=True):
        first, last = round(start * whole.sample_rate), round(end * whole.sample_rate) or None
        assert replace(whole, samples=whole.samples[first:last]).content == content


def test_a_warm_cache_that_can_only_be_read_is_used(tmp_path, write_tone):
    path = write_tone(tmp_path / "a.wav")
    add(tmp_path / "cache", path)
    folder = index_of(tmp_path / "cache").parent
    folder.chmod(0o555)
    try:
        assert add(tmp_path / "cache", path)["fault"] == ""
    finally:
        folder.chmod(0o755)


def test_a_file_that_changes_while_it_is_read_is_left_out_with_a_reason(
    tmp_path, write_tone, monkeypatch
):
    first, second = (write_tone(tmp_path / f"{pitch}.wav", pitch=pitch) for pitch in (200, 300))
    fill = cache_module.fill_shards

    def write_again(*arguments):
        os.utime(second, ns=(1, 1))
        return fill(*arguments)

    monkeypatch.setattr(cache_module, "fill_shards", write_again)
    found = AudioCache(tmp_path / "cache").add(sources(first, second))
    assert found["fault"].tolist() == ["", "unreadable"]
    assert "changed" in found["detail"].iloc[1]
    monkeypatch.undo()
    assert AudioCache(tmp_path / "cache").add(sources(first, second))["fault"].tolist() == ["", ""]
