"""Blocks of VOC files (Creative Voice): all of them behind a WAV header."""

import struct
from collections.abc import Iterator

from ser.audio.chunks import MAX_CHUNKS, Chunk, check_held
from ser.audio.recording import AudioError, Fault
from ser.audio.splice import Part, Peek

SOUND, MORE, EXTENDED, NEW_SOUND = 1, 2, 8, 9
SOUNDS = {SOUND: 2, MORE: 0, NEW_SOUND: 12}  # bytes before the samples of a block
CODECS = {0: 1, 4: 1, 6: 6, 7: 7}  # unsigned, signed, A-law, mu-law: the numbers of WAV


def survey(peek: Peek) -> list[Part]:
    """The sound blocks of a VOC file behind a WAV header.

    libsndfile stops at the end of the first block, or takes the headers of the others for sound.
    """
    sounds: list[range] = []
    formats: dict[bytes, None] = {}
    extended = b""
    for kind, start, size in read_blocks(peek):
        if kind == EXTENDED:
            extended = peek(start, 4)
        if kind not in SOUNDS:
            continue
        check_held(peek, Chunk(b"", start, size))
        header = peek(start, SOUNDS[kind])
        if kind != MORE:
            formats[wav_format(kind, header, extended)] = None
            extended = b""
        sounds.append(range(start + len(header), min(start + size, peek.size)))
    if not formats:
        raise AudioError(Fault.TRUNCATED, "it ends before its samples begin")
    if len(formats) > 1:
        raise AudioError(Fault.UNSUPPORTED, "the format of its samples changes")
    size = sum(map(len, sounds)).to_bytes(4, "little")
    begin = b"RIFF" + b"\xff" * 4 + b"WAVEfmt " + struct.pack("<I", 16)
    return [Part([begin + next(iter(formats)) + b"data" + size, *sounds])]


def read_blocks(peek: Peek) -> Iterator[tuple[int, int, int]]:
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


def wav_format(kind: int, header: bytes, extended: bytes) -> bytes:
    """The format chunk of a WAV file for a sound block; raises AudioError if there is none."""
    rate, bits, channels, codec = 0, 8, 1, 0
    if len(header) == SOUNDS[kind] and kind == SOUND:
        rate, codec = round(1_000_000 / (256 - header[0])), header[1]
        if extended:
            constant, codec, stereo = struct.unpack("<HBB", extended)
            channels = 1 + stereo
            rate = round(256_000_000 / (65_536 - constant) / channels)
    elif len(header) == SOUNDS[kind]:
        rate, bits, channels, codec = struct.unpack("<IBBH", header[:8])
    if codec not in CODECS or not rate or not channels or bits not in (8, 16):
        raise AudioError(Fault.UNSUPPORTED, f"codec {codec} of VOC")
    size = channels * bits // 8
    return struct.pack("<HHIIHH", CODECS[codec], channels, rate, rate * size, size, bits)
