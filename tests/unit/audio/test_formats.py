"""Every format that people bring, whatever its suffix, and what is said of the others."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recording_formats import WITH_LIBSNDFILE, WITH_PYAV, make_frame, speech
from scipy.signal import correlate

from ser.audio.decode import decode, load
from ser.audio.examine import examine
from ser.audio.recording import SAMPLE_RATE, AudioError, Fault
from ser.audio.sniff import SUFFIXES, is_recording
from ser.audio.stream import read_blocks

NAMES = [*WITH_LIBSNDFILE, *WITH_PYAV]


def likeness(found: np.ndarray, expected: np.ndarray) -> float:
    """The correlation of two signals at their best lag."""
    products = correlate(found, expected, "full", "fft")
    return float(products.max() / np.linalg.norm(found) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_decoded_whole_whatever_its_suffix(name, write_recording):
    path = write_recording(name, "renamed.mp3")
    found = load(path)
    assert len(found) / SAMPLE_RATE == pytest.approx(2.0, abs=0.12)  # codecs pad
    assert likeness(found, speech(2.0)) > (0.45 if "narrow" in name else 0.9)


@pytest.mark.parametrize("name", NAMES)
def test_prediction_reads_what_training_reads(name, write_recording):
    path = write_recording(name)
    streamed = np.concatenate(list(read_blocks(path)))
    np.testing.assert_array_equal(streamed, load(path))
    clip, samples = examine(path)
    assert clip.fault == ""
    np.testing.assert_allclose(samples * clip.peak / 32767, streamed, atol=clip.peak / 60_000)


FOLLOWING = ["pcm16.wav", "a.mp3", "a.ogg", "aac.m4a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_of_another_format_behind_it_is_not_lost_silently(name, write_recording):
    """Its samples are read too, or it is refused, or a note says that there is more."""
    path = write_recording(name)
    first = path.read_bytes()
    for other in FOLLOWING:
        if other == name:
            continue
        path.write_bytes(first + write_recording(other, "other").read_bytes())
        clip, _ = examine(path)
        assert clip.fault or clip.note or clip.seconds > 3.5, other


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_recognised_by_its_content(name, write_recording, tmp_path):
    assert is_recording(write_recording(name, "notes.txt"))
    assert Path(name).suffix in SUFFIXES | {".ts"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text\n" * 100,
        b"<html><body>Not found</body></html>",
        b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"1\n00:00:00,000 --> 00:00:01,000\nsubtitle\n",
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\n" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(5000),  # raw silence
        np.random.default_rng(0).integers(-3000, 3000, 40_000).astype("<i2").tobytes(),
        b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(100),
        b"the wide world, and free audio",
    ],
)
def test_other_content_is_not_a_recording(content, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert not is_recording(path)
    with pytest.raises(AudioError) as raised:
        decode(path)
    assert raised.value.fault == (Fault.NOT_AUDIO if content else Fault.EMPTY)


def test_what_is_no_file_is_not_a_recording(tmp_path):
    assert not is_recording(tmp_path)
    assert not is_recording(tmp_path / "none.wav")


@pytest.mark.parametrize("name", ["aac.m4a", "opus.webm", "wma.wma", "narrow.amr"])
def test_without_pyav_the_message_names_the_extra(name, write_recording, monkeypatch):
    path = write_recording(name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"ffmpeg -i .*pip install .*\bav\b") as raised:
        list(read_blocks(path))
    assert raised.value.fault == examine(path)[0].fault == Fault.UNSUPPORTED


@pytest.mark.parametrize("name", list(WITH_LIBSNDFILE))
def test_the_usual_formats_need_no_pyav(name, write_recording, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(load(write_recording(name))) > 1.9 * SAMPLE_RATE


def test_a_video_without_sound_is_empty(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(5):
            image = np.zeros((64, 64, 3), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        output.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio track") as raised:
        decode(path)
    assert raised.value.fault == Fault.EMPTY


def test_the_sound_of_a_video_is_used(tmp_path):
    av = pytest.importorskip("av")
    path, samples = tmp_path / "video.mkv", speech(1.0)
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width = video.height = 64
        audio = output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for start in range(0, len(samples), 1600):
            image = np.zeros((64, 64, 3), np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(image)))
            output.mux(audio.encode(make_frame(samples, start, 1600, SAMPLE_RATE, audio.format)))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))
    expected = np.rint(samples * 32767).astype(np.int16)
    np.testing.assert_array_equal(decode(path).samples, expected)


def test_messages_say_how_to_convert(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"MThd" + bytes(100))
    with pytest.raises(AudioError, match=re.escape("ffmpeg -i INPUT output.wav")):
        decode(tmp_path / "a.xyz")


MANGLED = {
    "ogg": ["-c:a", "libvorbis"],
    "opus": ["-c:a", "libopus"],
    "webm": ["-c:a", "libopus"],
    "mka": ["-c:a", "flac"],
    "flv": ["-c:a", "aac", "-ar", "44100"],
}


@pytest.mark.parametrize("suffix", MANGLED)
@pytest.mark.parametrize("damage", ["miss", "zeros", "cut"])
def test_a_recording_with_a_damaged_part_is_not_used_in_part(tmp_path, write_tone, suffix, damage):
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    source, path = write_tone(tmp_path / "tone.wav", seconds=3), tmp_path / f"whole.{suffix}"
    command = ["ffmpeg", "-v", "error", "-i", source, *MANGLED[suffix], path]
    subprocess.run(command, check=True)
    clip, _ = examine(path)
    assert (clip.fault, round(clip.seconds, 1)) == ("", 3.0)
    content, place = path.read_bytes(), path.stat().st_size // 3
    mangled = {
        "miss": content[:place] + content[place + 1 :],
        "zeros": content[:place] + bytes(2000) + content[place + 2000 :],
        "cut": content[: len(content) // 2],
    }
    path.write_bytes(mangled[damage])
    clip, _ = examine(path)
    assert clip.fault == ("truncated" if damage == "cut" else "damaged")


@pytest.mark.parametrize("after", [b"\xaa\x55" * 1500, bytes(3000), b"TAG" + bytes(125)])
@pytest.mark.parametrize("suffix", ["w64", "ogg"])
def test_bytes_after_a_recording_are_not_samples(tmp_path, write_tone, suffix, after):
    path = tmp_path / f"tone.{suffix}"
    samples, rate = soundfile.read(write_tone(tmp_path / "tone.wav"))
    soundfile.write(path, samples, rate)
    expected = decode(path).samples
    path.write_bytes(path.read_bytes() + after)
    np.testing.assert_array_equal(decode(path).samples, expected)


def test_two_joined_rf64_files_are_several(tmp_path, write_tone):
    path = tmp_path / "tone.rf64"
    samples, rate = soundfile.read(write_tone(tmp_path / "tone.wav"))
    soundfile.write(path, samples, rate, format="RF64", subtype="PCM_16")
    path.write_bytes(2 * path.read_bytes())
    clip, _ = examine(path)
    assert clip.fault == "several"
