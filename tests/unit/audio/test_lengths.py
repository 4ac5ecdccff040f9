"""Lengths come from reading: wrong headers, streams, cut files, and several files in one."""

import io
import struct

import numpy as np
import pytest
import soundfile
from recording_formats import RATE, WITH_LIBSNDFILE, WITH_PYAV, speech

from ser.audio import mpeg
from ser.audio.decode import decode, load
from ser.audio.recording import AudioError, Fault
from ser.audio.splice import Peek, whole_file
from ser.audio.stream import read_blocks

SAMPLES = np.rint(speech(1.0) * 32767).astype("<i2")
DATA = SAMPLES.tobytes()


def wav(riff: int, data: int, tail: bytes = b"") -> bytes:
    """A WAV file of SAMPLES whose header states these sizes."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + fmt
    return head + struct.pack("<4sI", b"data", data) + DATA + tail


def rf64(riff: int, data: int) -> bytes:
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff, data, 0, 0)
    body = wav(0xFFFF_FFFF, 0xFFFF_FFFF)
    return b"RF64" + body[4:12] + sizes + body[12:]


def aiff(form: int, sound: int) -> bytes:
    common = struct.pack(">4sIhIh", b"COMM", 18, 1, len(SAMPLES), 16)
    common += bytes.fromhex("400cfa00000000000000")  # 16,000 as an 80-bit number
    head = struct.pack(">4sI4s", b"FORM", form, b"AIFF") + common
    return head + struct.pack(">4sIII", b"SSND", sound, 0, 0) + SAMPLES.astype(">i2").tobytes()


def au(size: int) -> bytes:
    head = struct.pack(">4sIIIII", b".snd", 24, size, 3, RATE, 1)
    return head + SAMPLES.astype(">i2").tobytes()


def caf(size: int) -> bytes:
    described = struct.pack(">d4sIIIII", RATE, b"lpcm", 2, 2, 1, 1, 16)
    head = b"caff\0\1\0\0" + struct.pack(">4sq", b"desc", 32) + described
    return head + struct.pack(">4sqI", b"data", size, 0) + DATA


def nist(count: int) -> bytes:
    head = (
        f"NIST_1A\n   1024\nchannel_count -i 1\nsample_rate -i {RATE}\nsample_n_bytes -i 2\n"
        f"sample_byte_format -s2 01\nsample_coding -s3 pcm\nsample_count -i {count}\nend_head\n"
    )
    return head.encode().ljust(1024) + DATA


def voc(*blocks: tuple[int, bytes]) -> bytes:
    """A VOC file of blocks, each with its kind and content, and a terminator."""
    head = b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x10A, 0x1129)
    sized = [bytes([kind]) + struct.pack("<I", len(body))[:3] + body for kind, body in blocks]
    return head + b"".join(sized) + b"\0"


SIZE = len(DATA)


@pytest.mark.parametrize(
    "content",
    [
        wav(SIZE + 36, SIZE),
        wav(SIZE + 36 + 8, SIZE),  # its own header counted twice
        wav(SIZE + 80, SIZE + 44),
        wav(SIZE, SIZE + 36),
        wav(0x7FFF_FFFF, SIZE),
        wav(0, SIZE),
        wav(0, 0),
        wav(SIZE + 36, 0),
        wav(0xFFFF_FFFF, 0xFFFF_FFFF),
        wav(0x7FFF_F024, 0x7FFF_F000),
        wav(0x8000_0024, 0x8000_0000),
        wav(SIZE + 36, SIZE, b"LIST\x04\0\0\0abcd"),
        wav(SIZE + 36, SIZE, b"junk that is no chunk"),
        rf64(SIZE + 72, SIZE),
        rf64(0, 0),
        rf64(2**64 - 1, 2**64 - 1),
        aiff(SIZE + 46, SIZE + 8),
        aiff(0x7F00_0050, 0x7F00_0008),
        aiff(0, 0),
        au(SIZE),
        au(0xFFFF_FFFF),
        caf(SIZE + 4),
        caf(-1),
        nist(len(SAMPLES)),
    ],
)
def test_complete_files_are_used_whatever_their_headers_say(content):
    found = np.concatenate(list(read_blocks(io.BytesIO(content))))
    np.testing.assert_array_equal(found * 32768, SAMPLES)


@pytest.mark.parametrize(
    "content",
    [
        wav(SIZE + 36, SIZE)[:-200],
        wav(SIZE + 36, SIZE)[:2000],
        wav(SIZE + 36, SIZE)[:40],
        wav(SIZE + 36, SIZE)[:20],
        wav(SIZE + 36 + 10_000, SIZE + 10_000),
        rf64(SIZE + 72, SIZE)[:-200],
        aiff(SIZE + 46, SIZE + 8)[:-200],
        au(SIZE)[:-200],
        caf(SIZE + 4)[:-200],
        nist(len(SAMPLES))[:-200],
    ],
)
def test_files_that_promise_more_than_they_hold_are_truncated(content):
    with pytest.raises(AudioError) as raised:
        list(read_blocks(io.BytesIO(content)))
    assert raised.value.fault == Fault.TRUNCATED


def test_a_wav_file_without_samples_is_empty():
    header = wav(36, 0)[: -len(DATA)]
    for content in (header, header + b"LIST\x04\0\0\0abcd"):
        with pytest.raises(AudioError) as raised:
            list(read_blocks(io.BytesIO(content)))
        assert raised.value.fault == Fault.EMPTY


def test_a_sample_more_than_whole_frames_is_left_out(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(SIZE + 37, SIZE + 1, b"\x01"))
    np.testing.assert_array_equal(decode(tmp_path / "a.wav").samples, SAMPLES)


CUT = [
    *("pcm16.wav", "gsm.wav", "a.flac", "a.mp3", "a.ogg", "a.opus", "aac.m4a", "alac.caf"),
    *("opus.webm", "live.webm", "narrow.amr", "wma.wma", "aac.aac", "mp2.ts", "fragmented.mp4"),
]


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_always_gives_the_same_answer(name, recordings, tmp_path):
    whole = recordings(name)
    complete = len(np.concatenate(list(read_blocks(io.BytesIO(whole)))))
    cuts = np.random.default_rng(len(whole)).integers(1, len(whole), 25)
    for cut in cuts.tolist():
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        answers = {answer(source) for _ in range(3) for source in (path, open_again(path))}
        assert len(answers) == 1
        [(found, length, _)] = answers
        assert found != "ok" or 0 < length <= complete


def open_again(path) -> io.BytesIO:
    return io.BytesIO(path.read_bytes())


def answer(source) -> tuple[str, int, bytes]:
    """The outcome of reading a recording, and what was read before it."""
    blocks = []
    try:
        for block in read_blocks(source):
            blocks.append(block)
    except AudioError as error:
        return error.fault.value, sum(map(len, blocks)), b""
    return "ok", sum(map(len, blocks)), np.concatenate(blocks).tobytes()


STATED = ("pcm16.wav", "big.wav", "a.w64", "a.aiff", "a.au", "a.caf", "a.flac", "a.ogg", "a.opus")


@pytest.mark.parametrize("name", [*STATED, "aac.m4a", "alac.m4a", "opus.webm", "wma.wma"])
def test_half_a_file_is_truncated_if_its_header_states_a_length(name, recordings):
    whole = recordings(name)
    assert answer(io.BytesIO(whole[: len(whole) // 2]))[0] == Fault.TRUNCATED


@pytest.mark.parametrize("name", ["live.webm", "aac.aac", "narrow.amr", "mp2.ts"])
def test_half_a_stream_is_used(name, recordings):
    whole = recordings(name)
    found, length, _ = answer(io.BytesIO(whole[: len(whole) // 2]))
    assert found == "ok"
    assert 0.2 * 2 * RATE < length < 0.8 * 2 * RATE


# MP3


def write_mp3(samples: np.ndarray, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3", **options)
    return buffer.getvalue()


def frames_of(content: bytes) -> bytes:
    """The frames of an MP3 file without its Xing header, as a stream has them."""
    [stream] = mpeg.scan(Peek(whole_file(io.BytesIO(content))), lambda *_: False)
    return b"".join(content[part.start : part.stop] for part in stream.segments)  # type: ignore


def length_of(content: bytes) -> int:
    found, length, _ = answer(io.BytesIO(content))
    assert found == "ok"
    return length


PAUSE = np.concatenate([speech(0.5), np.zeros(9 * RATE), speech(0.5)])


def test_a_variable_bit_rate_without_a_length_is_read_to_its_end():
    stream = frames_of(write_mp3(PAUSE, bitrate_mode="VARIABLE"))
    assert length_of(stream) == pytest.approx(10 * RATE, abs=3 * 1152)
    estimate = soundfile.SoundFile(io.BytesIO(stream)).frames
    assert estimate < 9 * RATE  # else this does not test what it is for


def test_a_file_of_variable_bit_rate_gives_what_its_bytes_give(tmp_path):
    stream = frames_of(write_mp3(PAUSE, bitrate_mode="VARIABLE"))
    (tmp_path / "a.mp3").write_bytes(stream)
    assert len(load(tmp_path / "a.mp3")) == length_of(stream)


@pytest.mark.parametrize("count", [1, 10, 10_000])
def test_a_wrong_number_of_frames_in_an_mp3_header(count):
    whole = write_mp3(PAUSE)
    place = max(whole.find(b"Xing"), whole.find(b"Info"))
    wrong = whole[: place + 8] + struct.pack(">I", count) + whole[place + 12 :]
    if count == 10_000:
        assert answer(io.BytesIO(wrong))[0] == Fault.TRUNCATED
    else:
        assert length_of(wrong) == pytest.approx(10 * RATE, abs=3 * 1152)


def test_concatenated_mp3_files_are_both_used():
    first, second = write_mp3(speech(2.0)), write_mp3(speech(3.0, seed=1))
    joined = length_of(first + second)
    assert joined == length_of(first) + length_of(second)
    tagged = b"ID3\x04\0\0\0\0\0\x0a" + b"\xff\xfb\x90\x64" + bytes(6)
    assert length_of(tagged + first + tagged + second) == joined
    streams = frames_of(first) + frames_of(second)
    assert length_of(streams) == pytest.approx(joined, abs=6 * 1152)


def test_concatenated_files_of_other_rates_get_one_message():
    with pytest.raises(AudioError, match="changes from 16000 to 24000 Hz") as raised:
        list(read_blocks(io.BytesIO(write_mp3(speech(1)) + write_mp3(speech(1, 24_000), 24_000))))
    assert raised.value.fault == Fault.UNSUPPORTED


@pytest.mark.parametrize(
    "tail",
    [b"TAG" + bytes(125), b"APETAGEX" + struct.pack("<II", 2000, 60) + bytes(2016), bytes(999)],
)
def test_tags_and_padding_behind_an_mp3_do_no_harm(tail, capfd):
    whole = write_mp3(speech(2.0))
    assert answer(io.BytesIO(whole + tail)) == answer(io.BytesIO(whole))
    assert capfd.readouterr().err == ""


def test_junk_between_mp3_frames_is_passed_over(capfd):
    whole = write_mp3(speech(4.0), bitrate_mode="CONSTANT")
    [stream] = mpeg.scan(Peek(whole_file(io.BytesIO(whole))), lambda *_: False)
    assert isinstance(stream.segments[0], range)
    middle = stream.segments[0].start + 50 * stream.frame.size
    junk = np.random.default_rng(0).bytes(5000)
    assert length_of(whole[:middle] + junk + whole[middle:]) == length_of(whole)
    assert capfd.readouterr().err == ""


def test_damaged_mp3_frames_print_nothing(capfd):
    whole = bytearray(write_mp3(speech(4.0)))
    for place in np.random.default_rng(0).integers(500, len(whole), 40):
        whole[place] ^= 0x55
    answer(io.BytesIO(bytes(whole)))
    assert capfd.readouterr().err == ""


def test_what_is_mostly_junk_is_not_scanned_for_ever():
    content = write_mp3(speech(0.5)) + b"\xff\xfb\x90\x00" * 400_000
    assert answer(io.BytesIO(content))[0] == Fault.DAMAGED


def test_mono_and_stereo_in_one_mp3_are_both_used():
    stereo = write_mp3(np.column_stack([speech(1.0), speech(1.0)]))
    assert length_of(write_mp3(speech(1.0)) + stereo) == pytest.approx(2 * RATE, abs=4 * 1152)


# OGG and FLAC


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_chained_ogg_files_are_all_used(name, recordings):
    one = recordings(name)
    assert length_of(one * 3) == 3 * length_of(one)
    assert length_of(one + b"junk" * 100 + one) == 2 * length_of(one)


def test_a_flac_file_of_unknown_length_is_used():
    buffer = io.BytesIO()
    soundfile.write(buffer, SAMPLES, RATE, format="FLAC")
    content = bytearray(buffer.getvalue())
    content[21] &= 0xF0  # 36 bits of STREAMINFO
    content[22:26] = bytes(4)
    found = np.concatenate(list(read_blocks(io.BytesIO(bytes(content)))))
    np.testing.assert_array_equal(found * 32768, SAMPLES)


def test_a_tag_before_a_flac_file_is_passed_over(recordings):
    tagged = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + recordings("a.flac")
    assert answer(io.BytesIO(tagged)) == answer(io.BytesIO(recordings("a.flac")))


@pytest.mark.parametrize("name", [*WITH_LIBSNDFILE, *WITH_PYAV])
def test_damaged_headers_end_soon_and_without_a_traceback(name, recordings, capfd):
    whole, random = recordings(name), np.random.default_rng(1)
    for _ in range(15):
        damaged = bytearray(whole)
        for place in random.integers(0, min(400, len(whole)), 3):
            damaged[place] = random.integers(256)
        content = bytes(damaged)
        assert answer(io.BytesIO(content)) == answer(io.BytesIO(content))
    assert capfd.readouterr().err == ""


NEW_SOUND = struct.pack("<IBBHI", RATE, 16, 1, 4, 0)  # of VOC, before the samples
BYTES = np.rint(speech(1.0) * 127 + 128).astype(np.uint8)
RATE_8_BIT = 1_000_000 / (256 - 193)  # what a block with the constant 193 states


@pytest.mark.parametrize(
    "blocks",
    [
        [(9, NEW_SOUND + DATA)],
        [(9, NEW_SOUND + DATA[:9000]), (2, DATA[9000:20_000]), (2, DATA[20_000:])],
        [(9, NEW_SOUND + DATA[:9000]), (4, b"\1\0"), (9, NEW_SOUND + DATA[9000:])],
        [(5, b"a text\0"), (9, NEW_SOUND + DATA)],
    ],
)
def test_all_sound_blocks_of_a_voc_file_are_used(blocks, tmp_path):
    path = tmp_path / "a.voc"
    path.write_bytes(voc(*blocks))
    np.testing.assert_array_equal(decode(path).samples, SAMPLES)


def test_eight_bit_blocks_of_a_voc_file_are_used(tmp_path):
    path = tmp_path / "a.voc"
    path.write_bytes(voc((1, b"\xc1\0" + bytes(BYTES[:700])), (2, bytes(BYTES[700:]))))
    recording = decode(path)
    np.testing.assert_array_equal(recording.samples, (BYTES - np.float32(128)) / 128)
    assert recording.sample_rate == round(RATE_8_BIT)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (voc((9, NEW_SOUND + DATA[:9000]), (2, DATA[9000:]))[:-5000], Fault.TRUNCATED),
        (voc(), Fault.TRUNCATED),
        (voc((9, NEW_SOUND[:6])), Fault.UNSUPPORTED),
        (voc((1, b"\xc1\1" + DATA)), Fault.UNSUPPORTED),  # ADPCM
        (voc((9, NEW_SOUND + DATA), (1, b"\xc1\0" + DATA)), Fault.UNSUPPORTED),
    ],
)
def test_a_voc_file_that_cannot_be_used_whole_is_refused(content, fault, tmp_path):
    path = tmp_path / "a.voc"
    path.write_bytes(content)
    with pytest.raises(AudioError) as raised:
        decode(path)
    assert raised.value.fault == fault


JOINED = ["pcm16.wav", "float.wav", "gsm.wav", "a.w64", "a.aiff", "a.au", "a.caf", "a.flac"]


@pytest.mark.parametrize("name", [*JOINED, "aac.m4a", "fragmented.mp4", "wma.wma", "mp3.flv"])
def test_of_several_recordings_in_a_file_none_is_lost_silently(name, recordings, tmp_path):
    path = tmp_path / name
    path.write_bytes(recordings(name) * 2)
    with pytest.raises(AudioError) as raised:
        decode(path)
    assert raised.value.fault == Fault.SEVERAL


@pytest.mark.parametrize(
    "content",
    [
        voc((9, NEW_SOUND + DATA)) * 2,
        wav(36 + SIZE, SIZE, struct.pack("<4sI", b"data", SIZE) + DATA),
    ],
)
def test_samples_behind_the_first_ones_are_not_lost_silently(content, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as raised:
        decode(path)
    assert raised.value.fault == Fault.SEVERAL


def test_an_au_file_of_unknown_size_is_used(tmp_path):
    (tmp_path / "a.au").write_bytes(au(0))
    np.testing.assert_array_equal(decode(tmp_path / "a.au").samples, SAMPLES)
