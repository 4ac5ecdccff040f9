"""Chunks of WAV, RF64 and AVI files; see `ser.audio.chunks`."""

import re
import struct
from collections import deque

from ser.audio.chunks import (
    CHUNK_ID,
    MAX_CHUNKS,
    RIFF,
    RIFX,
    SLACK,
    STREAMED,
    STREAMED_64,
    Chunk,
    check_held,
    find_chunk,
    find_next,
    find_rest,
    note_rest,
    patched,
    read_chunks,
    whole,
)
from ser.audio.recording import MAX_CHANNELS, AudioError, Fault
from ser.audio.sniff import HEAD, begins_recording
from ser.audio.splice import Part, Peek

# A chunk of less than 16 MiB with a usual name, anywhere.
NAMED = rb"[A-Za-z_(][ -~]{3}"
TAILS = {
    "<": re.compile(rb"(?=(%s.{3}\0))" % NAMED, re.DOTALL),
    ">": re.compile(rb"(?=(%s\0.{3}))" % NAMED, re.DOTALL),
}
MOST_TAIL = 2**25  # bytes at the end of a file that are searched for chunks
LISTS = {b"RIFF", b"LIST"}  # chunks that hold a name and further chunks
UNKNOWN = 2**32 - 1  # as a size: to the end of the file
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def survey_wav(peek: Peek) -> list[Part]:
    order, layout = (">", RIFX) if peek(0, 4) == b"RIFX" else ("<", RIFF)
    data = find_chunk(peek, layout, 12, b"data")
    byte_rate = check_format(peek, order, find_chunk(peek, layout, 12, b"fmt "))
    check_held(peek, data)
    if data.size == 0 or data.size >= STREAMED:
        # libsndfile reads nothing, or also the chunks after the samples.
        size = find_tail(peek, order, data.start) - data.start
        return patched(peek, data.start - 4, struct.pack(f"{order}I", min(size, UNKNOWN)))
    end = find_next(peek, layout, data)
    rest = find_rest(peek, layout, end, b"RIFF", b"RIFX", b"data")
    note = note_rest(peek, rest, byte_rate)
    [stated] = struct.unpack(f"{order}I", peek(4, 4))
    chunk = CHUNK_ID.fullmatch(peek(end, 4))  # also a damaged one
    if note and rest == end and not chunk and -1 <= stated + 8 - peek.size <= 8:
        # The size of the file is right, give or take a header, and that of the samples is not.
        size = find_tail(peek, order, end) - data.start
        if size - data.size > SLACK:
            note = f"its header states {data.size:,} bytes of samples, but it holds {size:,}"
        else:
            note = ""
        return patched(peek, data.start - 4, struct.pack(f"{order}I", size), note)
    return whole(peek, note)


def find_tail(peek: Peek, order: str, place: int) -> int:
    """The offset of the chunks with which a file ends, after samples; its end without any.

    A candidate counts if chunks follow it without a gap up to the end of the file.
    """
    found: deque[tuple[int, int]] = deque(maxlen=MAX_CHUNKS)
    for start in range(max(place, peek.size - MOST_TAIL), peek.size, Peek.SIZE):
        block = peek(start, Peek.SIZE + 7)  # a header has 8 bytes
        for match in TAILS[order].finditer(block):
            [size] = struct.unpack(f"{order}I", match[1][4:])
            found.append((start + match.start(), size))
    begins = set[int]()
    for offset, size in reversed(found):
        end = offset + 8 + size
        if abs(end - peek.size) <= 1 or {end, end + size % 2} & begins:
            begins.add(offset)
    return min(begins, default=peek.size)


def check_format(peek: Peek, order: str, chunk: Chunk) -> int:
    """The bytes per second; raises AudioError for a number of channels that cannot be right."""
    head = peek(chunk.start, 16).ljust(16, b"\0")
    codec, channels, _, byte_rate, size, bits = struct.unpack(f"{order}HHIIHH", head)
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(Fault.UNSUPPORTED, f"{channels:,} channels")
    plain = codec in (PCM, FLOAT, EXTENSIBLE) and size > 0
    if plain and (size % channels or 8 * size < channels * bits):
        detail = f"{channels} channels of {bits} bits do not fit into {size} bytes"
        raise AudioError(Fault.DAMAGED, f"its header is wrong: {detail}")
    return byte_rate


def survey_rf64(peek: Peek) -> list[Part]:
    sizes = find_chunk(peek, RIFF, 12, b"ds64")
    data = find_chunk(peek, RIFF, 12, b"data")
    size = int.from_bytes(peek(sizes.start + 8, 8), "little")
    if 0 < size < STREAMED_64:
        check_held(peek, Chunk(b"data", data.start, size), STREAMED_64)
        end = find_next(peek, RIFF, Chunk(b"data", data.start, size))
        rest = find_rest(peek, RIFF, end, b"RF64", b"RIFF", b"data")
        return whole(peek, note_rest(peek, rest))
    held = find_tail(peek, "<", data.start) - data.start
    return patched(peek, sizes.start + 8, held.to_bytes(8, "little"))


def survey_avi(peek: Peek) -> list[Part]:
    """The file, if its chunks follow each other up to its end: demuxers leave out what is between.

    A part of a large file is a further RIFF chunk.
    """
    check_held(peek, next(read_chunks(peek, RIFF, 0)))
    place = 0
    while place + 8 <= peek.size:
        if place and begins_recording(peek(place, HEAD)):
            raise AudioError(Fault.SEVERAL)
        head = peek(place, 8)
        if not CHUNK_ID.fullmatch(head[:4]):
            break
        size = int.from_bytes(head[4:8], "little")
        place += 12 if head[:4] in LISTS else 8 + size + size % 2
    if place + 8 <= peek.size and place < 8 + int.from_bytes(peek(4, 4), "little"):
        raise AudioError(Fault.DAMAGED, f"there is no AVI chunk at byte {place:,}")
    return whole(peek, note_rest(peek, place))
