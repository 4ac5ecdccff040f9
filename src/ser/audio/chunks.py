"""Containers that are made of chunks: whether they hold what their headers promise.

Programs that write to a pipe cannot fill in sizes afterwards. They leave 0 or the largest number
there, which means "to the end of the file"; a number that is wrong by a few bytes is taken for a
miscounted header. Any other size beyond the end of the file means that the file was cut.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ser.audio import matroska, mp4
from ser.audio.recording import AudioError, Fault
from ser.audio.sniff import ASF_HEADER, W64_RIFF, Kind
from ser.audio.splice import Part, Peek

SLACK = 128  # bytes; more than any header that a writer may have failed to count
STREAMED, STREAMED_64 = 0x7F00_0000, 2**62  # sizes from here on stand for "unknown"
MAX_CHUNKS = 10_000
W64_DATA = bytes.fromhex("64617461 f3acd311 8cd100c0 4f8edb8a")
ASF_FILE = bytes.fromhex("a1dcab8c 47a9cf11 8ee400c0 0c205365")
FLV_TAGS, FLV_HEADER = {8, 9, 18}, 11  # audio, video and metadata; bytes
VOC_SOUND, VOC_MORE, VOC_EXTENDED, VOC_NEW_SOUND = 1, 2, 8, 9
VOC_SOUNDS = {VOC_SOUND: 2, VOC_MORE: 0, VOC_NEW_SOUND: 12}  # bytes before the samples of a block
VOC_CODECS = {0: 1, 4: 1, 6: 6, 7: 7}  # unsigned, signed, A-law, mu-law: the numbers of WAV
CHUNK_ID = re.compile(rb"[A-Za-z0-9_ ]{4}")


@dataclass(frozen=True)
class Layout:
    """How the header of a chunk is packed.

    `inclusive` sizes count the header; a chunk begins at a multiple of `align` bytes.
    """

    format: str
    align: int = 1
    inclusive: bool = False


@dataclass(frozen=True)
class Chunk:
    """A chunk: where its content begins, and the size that its header states."""

    id: bytes
    start: int
    size: int


RIFF, RIFX = Layout("<4sI", 2), Layout(">4sI", 2)
CAF, W64, ASF = Layout(">4sq"), Layout("<16sQ", 8, True), Layout("<16sQ", 1, True)


def read_chunks(peek: Peek, layout: Layout, place: int) -> Iterator[Chunk]:
    """The chunks from an offset on, up to the end of the file."""
    length = struct.calcsize(layout.format)
    for _ in range(MAX_CHUNKS):
        header = peek(place, length)
        if len(header) < length:
            return
        name, size = struct.unpack(layout.format, header)
        size = max(0, size - length) if layout.inclusive else size
        yield Chunk(name, place + length, size)
        place += length + max(0, size)
        place += -place % layout.align


def find_chunk(peek: Peek, layout: Layout, place: int, name: bytes) -> Chunk:
    """The first chunk of that name; raises AudioError if the file ends before it."""
    for chunk in read_chunks(peek, layout, place):
        if chunk.id == name:
            return chunk
    raise AudioError(Fault.TRUNCATED, "it ends before its samples begin")


def check_held(peek: Peek, chunk: Chunk, streamed: int = STREAMED) -> None:
    """Raise AudioError if the content of a chunk was cut off."""
    left = peek.size - chunk.start
    if left + SLACK < chunk.size < streamed:
        raise AudioError(Fault.TRUNCATED, f"{max(0, left):,} of {chunk.size:,} bytes")


def check_alone(peek: Peek, layout: Layout, place: int, *others: bytes) -> None:
    """Raise AudioError if a chunk from an offset on begins another recording, by its name."""
    for chunk in read_chunks(peek, layout, place):
        if chunk.id in others:
            raise AudioError(Fault.SEVERAL)


def check_search(peek: Peek, begin: bytes) -> None:
    """Raise AudioError if the bytes with which a recording begins are found further on."""
    for place in range(1, peek.size, Peek.SIZE):
        if begin in peek(place, Peek.SIZE + len(begin) - 1):
            raise AudioError(Fault.SEVERAL)


def survey_flac(peek: Peek) -> list[Part]:
    check_search(peek, b"fLaC\0\0\0\x22")
    return whole(peek)


def survey_flv(peek: Peek) -> list[Part]:
    """The file, if its tags follow each other up to its end."""
    check_search(peek, peek(0, 5) + b"\0\0\0\x09")
    place = int.from_bytes(peek(5, 4), "big") + 4
    while place < peek.size:
        tag = peek(place, FLV_HEADER)
        if tag[0] & 0x1F not in FLV_TAGS:
            raise AudioError(Fault.DAMAGED, f"there is no FLV tag at byte {place:,}")
        place += FLV_HEADER + int.from_bytes(tag[1:4], "big") + 4  # the length is repeated
    if place > peek.size + 4:
        raise AudioError(Fault.TRUNCATED, "its last FLV tag is cut off")
    return whole(peek)


def whole(peek: Peek) -> list[Part]:
    return [Part([range(peek.size)])]


def patched(peek: Peek, place: int, value: bytes) -> list[Part]:
    """The file with other bytes at one place."""
    return [Part([range(place), value, range(place + len(value), peek.size)])]


# Each survey returns the file, with its header repaired if libsndfile would misread it, and raises
# AudioError if samples that the header promises are missing.


def survey_wav(peek: Peek) -> list[Part]:
    layout = RIFX if peek(0, 4) == b"RIFX" else RIFF
    data = find_chunk(peek, layout, 12, b"data")
    check_held(peek, data)
    check_alone(peek, layout, data.start + data.size + data.size % 2, b"RIFF", b"RIFX", b"data")
    if data.size == 0 and not only_chunks(peek, layout, data.start):  # libsndfile reads none
        return patched(peek, data.start - 4, b"\xff" * 4)
    return whole(peek)


def only_chunks(peek: Peek, layout: Layout, place: int) -> bool:
    """Whether chunks fill the file from an offset on; samples hardly look like that."""
    for chunk in read_chunks(peek, layout, place):
        if not CHUNK_ID.fullmatch(chunk.id) or chunk.start + chunk.size > peek.size:
            return False
    return True


def survey_rf64(peek: Peek) -> list[Part]:
    sizes = find_chunk(peek, RIFF, 12, b"ds64")
    data = find_chunk(peek, RIFF, 12, b"data")
    size, left = int.from_bytes(peek(sizes.start + 8, 8), "little"), peek.size - data.start
    if 0 < size < STREAMED_64:
        check_held(peek, Chunk(b"data", data.start, size), STREAMED_64)
        check_alone(peek, RIFF, data.start + size + size % 2, b"RF64", b"RIFF", b"data")
        return whole(peek)
    return patched(peek, sizes.start + 8, left.to_bytes(8, "little"))


def survey_w64(peek: Peek) -> list[Part]:
    data = find_chunk(peek, W64, 40, W64_DATA)
    check_held(peek, data, STREAMED_64)
    check_alone(peek, W64, 40, W64_RIFF)
    end = data.start + data.size
    if data.size > 0 and end < peek.size:  # libsndfile would read what follows as samples
        return [Part([range(end)])]
    return whole(peek)


def survey_aiff(peek: Peek) -> list[Part]:
    check_held(peek, find_chunk(peek, RIFX, 12, b"SSND"))
    check_alone(peek, RIFX, 12, b"FORM")
    return whole(peek)


def survey_au(peek: Peek) -> list[Part]:
    start, size = struct.unpack("<II" if peek(0, 4) == b"dns." else ">II", peek(4, 8).ljust(8))
    check_held(peek, Chunk(b"data", start, size))
    if size == 0 and start < peek.size:
        return patched(peek, 8, b"\xff" * 4)
    if peek(start + size, 4) == peek(0, 4):
        raise AudioError(Fault.SEVERAL)
    return whole(peek)


def survey_nist(peek: Peek) -> list[Part]:
    head = peek(0, 4096)
    count, channels, width = (
        int(found[1]) if (found := re.search(rb"\n%s -i (\d{1,18})\n" % name, head)) else 0
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    )
    if b"embedded" not in head:  # else the samples are compressed
        start = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
        check_held(peek, Chunk(b"", start, count * channels * width), STREAMED_64)
    return whole(peek)


def survey_voc(peek: Peek) -> list[Part]:
    """The sound blocks of a VOC file behind a WAV header.

    libsndfile stops at the end of the first block, or takes the headers of the others for sound.
    """
    sounds: list[range] = []
    formats: dict[bytes, None] = {}
    extended = b""
    for kind, start, size in read_voc_blocks(peek):
        if kind == VOC_EXTENDED:
            extended = peek(start, 4)
        if kind not in VOC_SOUNDS:
            continue
        check_held(peek, Chunk(b"", start, size))
        header = peek(start, VOC_SOUNDS[kind])
        if kind != VOC_MORE:
            formats[voc_format(kind, header, extended)] = None
            extended = b""
        sounds.append(range(start + len(header), min(start + size, peek.size)))
    if not formats:
        raise AudioError(Fault.TRUNCATED, "it ends before its samples begin")
    if len(formats) > 1:
        raise AudioError(Fault.UNSUPPORTED, "the format of its samples changes")
    size = sum(map(len, sounds)).to_bytes(4, "little")
    begin = b"RIFF" + b"\xff" * 4 + b"WAVEfmt " + struct.pack("<I", 16)
    return [Part([begin + next(iter(formats)) + b"data" + size, *sounds])]


def read_voc_blocks(peek: Peek) -> Iterator[tuple[int, int, int]]:
    """The kind of each block of a VOC file, where its content begins, and its size in bytes."""
    place = int.from_bytes(peek(20, 2), "little")
    for _ in range(MAX_CHUNKS):
        header = peek(place, 4)
        if peek(place, 20) == b"\0" + peek(0, 19):
            raise AudioError(Fault.SEVERAL)
        if len(header) < 4 or header[0] == 0:  # the end
            return
        size = int.from_bytes(header[1:], "little")
        yield header[0], place + 4, size
        place += 4 + size


def voc_format(kind: int, header: bytes, extended: bytes) -> bytes:
    """The format chunk of a WAV file for a sound block; raises AudioError if there is none."""
    rate, bits, channels, codec = 0, 8, 1, 0
    if len(header) == VOC_SOUNDS[kind] and kind == VOC_SOUND:
        rate, codec = round(1_000_000 / (256 - header[0])), header[1]
        if extended:
            constant, codec, stereo = struct.unpack("<HBB", extended)
            channels = 1 + stereo
            rate = round(256_000_000 / (65_536 - constant) / channels)
    elif len(header) == VOC_SOUNDS[kind]:
        rate, bits, channels, codec = struct.unpack("<IBBH", header[:8])
    if codec not in VOC_CODECS or not rate or not channels or bits not in (8, 16):
        raise AudioError(Fault.UNSUPPORTED, f"codec {codec} of VOC")
    size = channels * bits // 8
    return struct.pack("<HHIIHH", VOC_CODECS[codec], channels, rate, rate * size, size, bits)


def survey_caf(peek: Peek) -> list[Part]:
    data = find_chunk(peek, CAF, 8, b"data")
    check_held(peek, data)
    if data.size > 0:
        check_alone(peek, CAF, data.start + data.size, b"caff")
    if data.size < 0:  # allowed by the format, and unknown to libsndfile 1.2
        return patched(peek, data.start - 8, (peek.size - data.start).to_bytes(8, "big"))
    return whole(peek)


def survey_avi(peek: Peek) -> list[Part]:
    check_held(peek, next(read_chunks(peek, RIFF, 0)))
    return whole(peek)


def survey_asf(peek: Peek) -> list[Part]:
    start = find_chunk(peek, ASF, 30, ASF_FILE).start
    size, flags = int.from_bytes(peek(start + 16, 8), "little"), peek(start + 64, 1)
    if flags[:1] and not flags[0] & 1:  # else it is a broadcast, whose size is unknown
        check_held(peek, Chunk(b"", 0, size), STREAMED_64)
        if 0 < size < peek.size and peek(size, 16) == ASF_HEADER:
            raise AudioError(Fault.SEVERAL)
    return whole(peek)


SURVEYS: dict[Kind, Callable[[Peek], list[Part]]] = {
    Kind.WAV: survey_wav,
    Kind.RF64: survey_rf64,
    Kind.W64: survey_w64,
    Kind.AIFF: survey_aiff,
    Kind.AU: survey_au,
    Kind.NIST: survey_nist,
    Kind.VOC: survey_voc,
    Kind.CAF: survey_caf,
    Kind.FLAC: survey_flac,
    Kind.FLV: survey_flv,
    Kind.AVI: survey_avi,
    Kind.ASF: survey_asf,
    Kind.MP4: mp4.survey,
    Kind.MATROSKA: matroska.survey,
}
