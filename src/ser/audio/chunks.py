"""Containers that are made of chunks: whether they hold what their headers promise.

Programs that write to a pipe cannot fill in sizes afterwards. They leave 0 or the largest number
there, which means "to the end of the file"; a number that is wrong by a few bytes is taken for a
miscounted header. Any other size beyond the end of the file means that the file was cut.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ser.audio import mpeg
from ser.audio.recording import AudioError, Fault
from ser.audio.sniff import ASF_HEADER, HEAD, W64_RIFF, begins_recording, identify
from ser.audio.splice import Part, Peek

SLACK = 128  # bytes; more than any header that a writer may have failed to count
STREAMED, STREAMED_64 = 0x7F00_0000, 2**62  # sizes from here on stand for "unknown"
MAX_CHUNKS = 10_000
W64_DATA = bytes.fromhex("64617461 f3acd311 8cd100c0 4f8edb8a")
ASF_FILE = bytes.fromhex("a1dcab8c 47a9cf11 8ee400c0 0c205365")
FLV_TAGS, FLV_HEADER = {8, 9, 18}, 11  # audio, video and metadata; bytes
# How recordings begin, in bytes that do not occur in compressed samples by chance.
AFTER_FLAC = (
    *(b"fLaC\0\0\0\x22", b"WAVEfmt ", b"RF64\xff\xff\xff\xffWAVE", b"AIFFCOMM", b"AIFCFVER"),
    *(b".snd\0\0\0", b"caff\0\1\0\0", b"NIST_1A\n   1024\n", b"OggS\0\2", b"#!AMR", W64_RIFF),
    *(b"ftypM4A ", b"ftypisom", b"ftypmp4", b"ftypqt", b"ftyp3gp", b"webmB", b"matroskaB"),
    *(b"AVI LIST", b"FLV\1\4\0\0\0\t", ASF_HEADER, b"Xing\0\0\0\x0f", b"Info\0\0\0\x0f"),
)
CHUNK_ID = re.compile(rb"[ -~]{4}")


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
        chunk = Chunk(name, place + length, size)
        yield chunk
        place = find_next(peek, layout, chunk)


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


def find_rest(peek: Peek, layout: Layout, place: int, *others: bytes) -> int:
    """The offset from which on something other than chunks follows; the end of the file if none.

    Raises AudioError if a chunk begins another recording, by its name or its first bytes.
    """
    length = struct.calcsize(layout.format)
    for chunk in read_chunks(peek, layout, place):
        place = chunk.start - length
        if chunk.id in others or begins_recording(peek(place, HEAD)):
            raise AudioError(Fault.SEVERAL)
        end = chunk.start + chunk.size
        if not CHUNK_ID.fullmatch(chunk.id) or chunk.size < 0 or end > peek.size:
            return place
        place = find_next(peek, layout, chunk)
    return min(place, peek.size)


def find_next(peek: Peek, layout: Layout, chunk: Chunk) -> int:
    """The offset after a chunk and its padding, which some writers leave out."""
    size = max(0, chunk.size)
    end, padding = chunk.start + size, -size % layout.align
    return end if padding and is_chunk(peek, layout, end) else end + padding


def is_chunk(peek: Peek, layout: Layout, place: int) -> bool:
    """Whether a chunk that ends within the file begins at an offset."""
    chunk = next(read_chunks(peek, layout, place), None)
    return (
        chunk is not None
        and CHUNK_ID.fullmatch(chunk.id) is not None
        and 0 <= chunk.size <= peek.size - chunk.start
    )


def note_rest(peek: Peek, place: int, byte_rate: int = 0) -> str:
    """A note on bytes behind the samples, unless they are tags or padding.

    Raises AudioError if they are another recording. `byte_rate` is the number of bytes per second.
    """
    while place < peek.size and (size := mpeg.tag_size(peek(place, 32))):
        place += size
    left, head = max(0, peek.size - place), peek(place, HEAD)
    if any(identify(head[skipped:]) is not None for skipped in (0, 1)):  # a byte may align it
        raise AudioError(Fault.SEVERAL)
    if not head.strip(b"\0"):
        return ""
    length = f", {left / byte_rate:.2f} s if they are samples" if byte_rate else ""
    return f"{left:,} bytes after its samples are not used{length}"


def check_search(peek: Peek, first: int, *begins: bytes) -> None:
    """Raise AudioError if bytes with which a recording begins are found from an offset on."""
    longest = max(map(len, begins))
    for place in range(first, peek.size, Peek.SIZE):
        block = peek(place, Peek.SIZE + longest - 1)
        if any(begin in block for begin in begins):
            raise AudioError(Fault.SEVERAL)


def survey_flac(peek: Peek) -> list[Part]:
    """The file: FLAC states no length in bytes, so what follows it is searched for."""
    place, last = 4, False
    while not last and place < peek.size:  # metadata may hold pictures and headers
        head = peek(place, 4)
        last, place = head[0] >= 0x80, place + 4 + int.from_bytes(head[1:4], "big")
    check_search(peek, place, *AFTER_FLAC)
    if mpeg.is_mpeg(peek(max(0, peek.size - HEAD), HEAD)):  # an MP3 has no certain beginning
        raise AudioError(Fault.SEVERAL)
    return whole(peek)


def survey_flv(peek: Peek) -> list[Part]:
    """The file, if its tags follow each other up to its end."""
    check_search(peek, 1, peek(0, 5) + b"\0\0\0\x09")
    place = int.from_bytes(peek(5, 4), "big") + 4
    while place < peek.size:
        tag = peek(place, FLV_HEADER)
        if tag[0] & 0x1F not in FLV_TAGS:
            raise AudioError(Fault.DAMAGED, f"there is no FLV tag at byte {place:,}")
        place += FLV_HEADER + int.from_bytes(tag[1:4], "big") + 4  # the length is repeated
    if place > peek.size + 4:
        raise AudioError(Fault.TRUNCATED, "its last FLV tag is cut off")
    return whole(peek)


def whole(peek: Peek, note: str = "") -> list[Part]:
    return [Part([range(peek.size)], note=note)]


def patched(peek: Peek, place: int, value: bytes, note: str = "") -> list[Part]:
    """The file with other bytes at one place."""
    return [Part([range(place), value, range(place + len(value), peek.size)], note=note)]


# Each survey returns the file, with its header repaired if libsndfile would misread it, and raises
# AudioError if samples that the header promises are missing.


def survey_w64(peek: Peek) -> list[Part]:
    data = find_chunk(peek, W64, 40, W64_DATA)
    check_held(peek, data, STREAMED_64)
    end = data.start + data.size
    if not 0 < data.size < peek.size - data.start:
        return whole(peek)
    if any(chunk.id == W64_RIFF for chunk in read_chunks(peek, W64, end + -end % 8)):
        raise AudioError(Fault.SEVERAL)
    # libsndfile would read what follows as samples.
    return [Part([range(end)], note=note_rest(peek, end))]


def survey_aiff(peek: Peek) -> list[Part]:
    sound = find_chunk(peek, RIFX, 12, b"SSND")
    check_held(peek, sound)
    if not 0 < sound.size < peek.size - sound.start:
        return whole(peek)
    rest = find_rest(peek, RIFX, sound.start + sound.size + sound.size % 2, b"FORM")
    return whole(peek, note_rest(peek, rest))


def survey_au(peek: Peek) -> list[Part]:
    start, size = struct.unpack("<II" if peek(0, 4) == b"dns." else ">II", peek(4, 8).ljust(8))
    check_held(peek, Chunk(b"data", start, size))
    if size == 0 and start < peek.size:
        return patched(peek, 8, b"\xff" * 4)
    return whole(peek, note_rest(peek, start + size))


def survey_nist(peek: Peek) -> list[Part]:
    head = peek(0, 4096)
    count, channels, width = (
        int(found[1]) if (found := re.search(rb"\n%s -i (\d{1,18})\n" % name, head)) else 0
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    )
    if b"embedded" in head:  # the samples are compressed
        return whole(peek)
    start = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
    size = count * channels * width
    check_held(peek, Chunk(b"", start, size), STREAMED_64)
    return whole(peek, note_rest(peek, start + size) if size else "")


def survey_caf(peek: Peek) -> list[Part]:
    data = find_chunk(peek, CAF, 8, b"data")
    check_held(peek, data)
    if data.size > 0:
        rest = find_rest(peek, CAF, data.start + data.size, b"caff")
        return whole(peek, note_rest(peek, rest))
    if data.size < 0:  # allowed by the format, and unknown to libsndfile 1.2
        return patched(peek, data.start - 8, (peek.size - data.start).to_bytes(8, "big"))
    return whole(peek)


def survey_asf(peek: Peek) -> list[Part]:
    start = find_chunk(peek, ASF, 30, ASF_FILE).start
    size, flags = int.from_bytes(peek(start + 16, 8), "little"), peek(start + 64, 1)
    if flags[:1] and not flags[0] & 1:  # else it is a broadcast, whose size is unknown
        check_held(peek, Chunk(b"", 0, size), STREAMED_64)
        if size:
            return whole(peek, note_rest(peek, size))
    return whole(peek)
