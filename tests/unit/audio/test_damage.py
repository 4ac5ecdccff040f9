"""Parts of a recording are never lost silently: refused, or used with a note."""

import io
import struct
import time

import numpy as np
import pytest
import soundfile
from recording_formats import RATE, encode, speech
from test_lengths import DATA, SIZE, frames_of, wav, write_mp3

from ser.audio.examine import examine
from ser.audio.recording import AudioError, Fault
from ser.audio.stream import read_blocks

# Streams, which state no length: container and codec as PyAV names them, and the rate.
STREAMS = {
    "adts": ("adts", "aac", RATE),
    "ts": ("mpegts", "aac", 44_100),
    "mp2.ts": ("mpegts", "mp2", RATE),
    "ac3.ts": ("mpegts", "ac3", 44_100),
    "mpg": ("mpeg", "mp2", 44_100),
    "amr": ("amr", "libopencore_amrnb", 8000),
    "mp3": ("", "", RATE),
}
OTHERS = {"avi": ("avi", "pcm_s16le", RATE), "wma": ("asf", "wmav2", RATE)}
SECONDS = 6


@pytest.fixture(scope="module")
def streams() -> dict[str, bytes]:
    made = {"mp3": frames_of(write_mp3(speech(SECONDS), bitrate_mode="VARIABLE"))}
    for name, (container, codec, rate) in {**STREAMS, **OTHERS}.items():
        if container:
            made[name] = encode(speech(SECONDS, rate), rate, container, codec, {})
    return made


def outcomes(content: bytes, path) -> tuple[str, float, list[str]]:
    """The fault, seconds and notes of a recording, which training and prediction agree on."""
    path.write_bytes(content)
    clip, _ = examine(path)
    warnings: list[str] = []
    if clip.fault:
        with pytest.raises(AudioError) as raised:
            list(read_blocks(io.BytesIO(content)))
        assert raised.value.fault == clip.fault
        return clip.fault, 0.0, []
    blocks = list(read_blocks(io.BytesIO(content), warnings=warnings))
    assert "; ".join(warnings) == clip.note
    return "", sum(map(len, blocks)) / RATE, warnings


@pytest.mark.parametrize("name", [*STREAMS, *OTHERS])
def test_a_whole_stream_has_no_note(name, streams, tmp_path):
    fault, seconds, notes = outcomes(streams[name], tmp_path / "a")
    assert (fault, notes) == ("", [])
    assert seconds == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize(
    ("container", "codec"), [("asf", "wmav2"), ("mpegts", "aac"), ("mp4", "aac")]
)
def test_long_frames_of_low_rates_are_no_gaps(container, codec, rate, tmp_path):
    content = encode(speech(SECONDS, rate), rate, container, codec, {})
    fault, seconds, notes = outcomes(content, tmp_path / "a")
    assert (fault, notes) == ("", [])
    assert seconds == pytest.approx(SECONDS, abs=0.3)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("share", [0.31, 0.5, 0.77, 0.99])
def test_a_stream_that_ends_within_a_frame_has_a_note(name, share, streams, tmp_path):
    whole = streams[name]
    for cut in (int(share * len(whole)), int(share * len(whole)) + 7):
        fault, seconds, notes = outcomes(whole[:cut], tmp_path / "a")
        if fault == "":
            assert seconds < SECONDS + 0.2
            assert notes or ends_with_a_frame(name, whole, cut)


def ends_with_a_frame(name: str, whole: bytes, cut: int) -> bool:
    """Whether what was cut off begins like a frame or packet of the format."""
    begins = {"amr": (b"\x3c", b"\x04"), "ts": (b"G",), "mp2.ts": (b"G",), "ac3.ts": (b"G",)}
    usual = (b"\xff", b"\0\0\1")
    return whole[cut : cut + 3].startswith(begins.get(name, usual))


@pytest.mark.parametrize("name", [*STREAMS, *OTHERS])
@pytest.mark.parametrize("damage", ["zeros", "noise", "missing"])
@pytest.mark.parametrize("begin", [0.2, 0.6])
def test_a_stream_with_a_hole_is_refused_or_noted(name, damage, begin, streams, tmp_path):
    whole = streams[name]
    start, size = int(begin * len(whole)) + 3, len(whole) // 6
    hole = {
        "zeros": bytes(size),
        "noise": np.random.default_rng(0).bytes(size),
        "missing": b"",
    }[damage]
    fault, _, notes = outcomes(whole[:start] + hole + whole[start + size :], tmp_path / "a")
    # Frames that are gone altogether leave no trace but a broken one in streams without times.
    traceless = damage == "missing" and name in ("adts", "mp3")
    assert fault in (Fault.DAMAGED, Fault.TRUNCATED) or (traceless and notes)


@pytest.mark.parametrize("name", ["adts", "mp3", "mp2.ts", "mpg"])
def test_one_broken_frame_is_left_out_with_a_note(name, streams, tmp_path):
    whole = bytearray(streams[name])
    middle = whole.index(b"\xff", len(whole) // 2)
    while whole[middle + 1] & 0xE0 != 0xE0:
        middle = whole.index(b"\xff", middle + 1)
    whole[middle] = whole[middle + 1] = 0
    fault, seconds, notes = outcomes(bytes(whole), tmp_path / "a")
    assert fault == "" or name == "mp2.ts"
    assert fault or seconds > SECONDS - 0.3
    assert fault or notes or seconds == pytest.approx(SECONDS, abs=0.1)


def test_a_flipped_bit_is_found_by_the_checksum_of_flac(tmp_path):
    whole = bytearray(encode(speech(SECONDS), RATE, "matroska", "flac", {}))
    whole[len(whole) // 2] ^= 0x10
    fault, _, notes = outcomes(bytes(whole), tmp_path / "a")
    assert fault == Fault.DAMAGED or notes


@pytest.mark.parametrize("junk", [200, 3000])
def test_a_damaged_begin_of_an_mp3_is_noted(junk, streams, tmp_path):
    whole = streams["mp3"]
    damaged = np.random.default_rng(0).bytes(junk) + whole[junk:]
    fault, seconds, [note] = outcomes(damaged, tmp_path / "a")
    assert (fault, "before" in note) == ("", True)
    assert seconds < SECONDS + 0.1
    assert outcomes(bytes(junk) + whole, tmp_path / "a")[::2] == ("", [])


@pytest.mark.parametrize("count", [1, 20])
def test_amr_frames_of_bad_quality_are_counted(count, streams, tmp_path):
    """The bit of the first byte that says that a frame is intact, by RFC 4867."""
    whole, size = bytearray(streams["amr"]), 32  # of a frame at 12.2 kbit/s
    for frame in range(50, 50 + count):
        assert whole[6 + frame * size] == 0x3C
        whole[6 + frame * size] = 0x38
    fault, _, notes = outcomes(bytes(whole), tmp_path / "a")
    assert (fault == Fault.DAMAGED) is (count * 0.02 > 0.1)
    assert fault or notes


FOLLOWING = {"ogg": b"OggS\0\2", "flac": b"fLaC\0\0\0\x22", "m4a": b"\0\0\0\x20ftypM4A "}


@pytest.mark.parametrize("name", [*STREAMS, *OTHERS, *FOLLOWING])
@pytest.mark.parametrize("between", [b"", b"LIST\4\0\0\0abcd"])
def test_another_recording_behind_a_wav_is_not_lost(name, between, streams, tmp_path):
    after = FOLLOWING[name] + bytes(200) if name in FOLLOWING else streams[name]
    content = wav(SIZE + 36, SIZE, between + after)
    assert outcomes(content, tmp_path / "a")[0] == Fault.SEVERAL


@pytest.mark.parametrize("missing", [2, 44, 1000, 10_000])
def test_a_size_of_the_samples_that_is_too_small_is_corrected(missing, tmp_path):
    """The size of the file says where they end."""
    fault, seconds, notes = outcomes(wav(SIZE + 36, SIZE - missing), tmp_path / "a")
    assert (fault, seconds) == ("", len(DATA) / 2 / RATE)
    assert len(notes) == (missing > 128)


ODD = b"IART\5\0\0\0abcde"  # a chunk of odd size, which needs a byte of padding
TAIL = b"LIST" + struct.pack("<I", len(ODD) + 5) + b"INFO" + ODD + b"\0"


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("tail", [TAIL, b"bext\3\0\0\0abc\0" + TAIL, b"_PMX" + bytes(4)])
def test_chunks_behind_samples_of_an_odd_size_are_no_samples(padded, tail, tmp_path):
    samples = np.arange(8001, dtype=np.uint8)  # 8 bits, with values as in speech
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(samples)) + samples.tobytes()
    body += b"\0" * padded + tail
    content = b"RIFF" + struct.pack("<I", len(body)) + body
    assert outcomes(content, tmp_path / "a") == ("", len(samples) / RATE, [])


OVER = b"bext" + struct.pack("<I", 610) + bytes(602)  # counts its own header


@pytest.mark.parametrize("tail", [b"(c) \4\0\0\0abcd", b"ds-1\4\0\0\0abcd", OVER, b"<?xml ?>" * 40])
def test_a_right_size_of_the_samples_is_kept_whatever_follows(tail, tmp_path):
    fault, seconds, notes = outcomes(wav(SIZE + 36 + len(tail), SIZE, tail), tmp_path / "a")
    assert (fault, seconds) == ("", len(DATA) / 2 / RATE)
    assert len(notes) == (len(tail) > 100)


@pytest.mark.parametrize("name", [b"LIST", b"PAD "])
def test_a_tail_is_found_in_linear_time(name, tmp_path):
    """Each of many chunks could begin the tail; walking from each takes minutes."""
    samples = (name + bytes(4)) * 2**16
    head = wav(0, 0xFFFF_FFFF)[:-SIZE]
    started = time.perf_counter()
    fault, _, _ = outcomes(head + samples + b"\xff" * 10, tmp_path / "a")
    assert not fault
    assert time.perf_counter() - started < 10


def test_chunks_behind_the_samples_of_an_rf64_are_no_samples(tmp_path):
    soundfile.write(tmp_path / "a", speech(0.5), RATE, format="RF64", subtype="PCM_16")
    content = bytearray((tmp_path / "a").read_bytes())
    place = content.index(b"ds64") + 16
    content[place : place + 8] = bytes(8)
    assert outcomes(bytes(content) + TAIL, tmp_path / "a") == ("", 8000 / RATE, [])


def test_the_cover_of_a_flac_is_no_recording(tmp_path):
    soundfile.write(tmp_path / "a", speech(0.5), RATE, format="FLAC")
    content = (tmp_path / "a").read_bytes()
    picture = b"\xff\xd8" + bytes(100) + b"ftypmp42" + bytes(100)  # a photo with a film behind it
    block = b"\6" + len(picture).to_bytes(3, "big") + picture
    found = outcomes(content[:42] + block + content[42:], tmp_path / "a")
    assert found == ("", 8000 / RATE, [])


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFF0])
@pytest.mark.parametrize("tail", [TAIL, b"bext\3\0\0\0abc\0" + TAIL, b"cart\4\0\0\0abcd"])
def test_chunks_behind_samples_of_unknown_size_are_no_samples(size, tail, tmp_path):
    content = wav(SIZE + 36 + len(tail), size, tail)
    assert outcomes(content, tmp_path / "a") == ("", len(DATA) / 2 / RATE, [])


def test_chunks_behind_samples_whose_size_is_too_small_are_no_samples(tmp_path):
    content = wav(SIZE + 36 + len(TAIL), SIZE // 2, TAIL)
    fault, seconds, [note] = outcomes(content, tmp_path / "a")
    assert (fault, seconds) == ("", len(DATA) / 2 / RATE)
    assert f"{SIZE:,}" in note


def test_bytes_that_no_size_counts_are_noted(tmp_path):
    fault, seconds, [note] = outcomes(wav(SIZE - 8000 + 36, SIZE - 8000), tmp_path / "a")
    assert (fault, seconds) == ("", (SIZE - 8000) / 2 / RATE)
    assert "8,000" in note


@pytest.mark.parametrize("tail", [bytes(300), b"TAG" + bytes(125), b"LIST\4\0\0\0abcd", b"\0"])
def test_padding_tags_and_chunks_need_no_note(tail, tmp_path):
    assert outcomes(wav(SIZE + 36, SIZE, tail), tmp_path / "a")[::2] == ("", [])


@pytest.mark.parametrize("channels", [0, 2, 3, 65, 255, 256, 65_535])
def test_a_wrong_number_of_channels_is_one_message(channels, tmp_path):
    """Of a mono file; the size of a sample of all channels stays two bytes."""
    content = bytearray(wav(SIZE + 36, SIZE))
    content[22:24] = struct.pack("<H", channels)
    fault, _, _ = outcomes(bytes(content), tmp_path / "a")
    assert fault == (Fault.DAMAGED if 0 < channels <= 64 else Fault.UNSUPPORTED)


def test_files_of_many_channels_are_refused_in_other_containers(tmp_path):
    head = struct.pack(">4sIIIII", b".snd", 24, SIZE, 3, RATE, 255)
    assert outcomes(head + DATA, tmp_path / "a")[0] == Fault.UNSUPPORTED
