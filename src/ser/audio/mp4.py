"""Boxes of MP4, M4A, 3GP and MOV files (ISO/IEC 14496-12).

FFmpeg builds an index with an entry for each packet. The tables that state their number are short,
so a small file could claim gigabytes: such files are refused here.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ser.audio.damage import CUT
from ser.audio.recording import AudioError, Fault
from ser.audio.sniff import HEAD, Container, identify
from ser.audio.splice import Part, Peek

HEADER = 8  # bytes of size and type
SLACK = 128  # bytes that may be missing at the end
MAX_BOXES, MAX_DEPTH = 100_000, 8
MAX_PACKETS = 2**20  # of all tracks and edits; six hours of AAC
# FFmpeg looks for every table in all of these.
PARENTS = frozenset(
    b"moov trak mdia minf stbl edts moof traf mvex dinf tref udta sinf schi ilst iprp ipco".split()
)
TABLE = re.compile(b"stsz|stz2|trun|elst|stco|co64|stts|stsc")


@dataclass(frozen=True)
class Box:
    """A box of that type, whose content is from `start` to `stop`."""

    type: bytes
    start: int
    stop: int


def survey(peek: Peek) -> list[Part]:
    """The file; raises AudioError if it was cut or states more packets than it can hold."""
    boxes = list(read_boxes(peek, 0, peek.size))
    for box in boxes:
        if box.stop > peek.size + SLACK:
            if identify(peek(box.start - HEADER, HEAD)) not in (None, Container.MP4):
                raise AudioError(Fault.SEVERAL)
            held, size = max(0, peek.size - box.start), box.stop - box.start
            raise AudioError(Fault.TRUNCATED, f"{held:,} of {size:,} bytes")
    if not any(box.type == b"moov" for box in boxes):
        raise AudioError(Fault.TRUNCATED, "it ends before its index (moov)")
    if sum(box.type == b"moov" for box in boxes) > 1:
        raise AudioError(Fault.SEVERAL)
    packets = sum(count_packets(peek, box) for box in boxes if box.type in PARENTS)
    if packets > MAX_PACKETS:
        raise AudioError(Fault.DAMAGED, f"its index states {packets:,} packets")
    cut = any(box.stop > peek.size for box in boxes)
    return [Part([range(peek.size)], note=CUT if cut else "")]


def read_boxes(peek: Peek, place: int, stop: int) -> Iterator[Box]:
    """The boxes that follow each other between two offsets; the last may reach beyond."""
    for _ in range(MAX_BOXES):
        if place + HEADER > min(stop, peek.size):
            return
        size, kind = struct.unpack(">I4s", peek(place, 8))
        header = HEADER
        if size == 1:  # a 64-bit size follows
            size, header = int.from_bytes(peek(place + 8, 8), "big"), 16
        if size == 0:  # to the end of the file
            size = stop - place
        if size < header:
            return
        yield Box(kind, place + header, place + size)
        place += size
    raise AudioError(Fault.DAMAGED, f"more than {MAX_BOXES:,} boxes")


@dataclass
class Track:
    """What the tables of a track or of a fragment state."""

    packets: int = 0
    edits: int = 1
    chunks: int = 0
    most: int = 0  # samples in a chunk
    uncompressed: bool = False  # FFmpeg indexes such samples 1,024 at a time

    @property
    def entries(self) -> int:
        """The size of the index that FFmpeg would build."""
        packets = self.chunks * (1 + self.most // 1024) if self.uncompressed else self.packets
        return packets * self.edits


def count_packets(peek: Peek, box: Box) -> int:
    """The entries of FFmpeg's index for the tracks in a top-level box."""
    tracks = [Track()]
    for child in read_boxes(peek, box.start, box.stop):
        if child.type == b"trak":
            tracks.append(Track())
        read_tables(peek, child, tracks[-1])
    return sum(track.entries for track in tracks)


def read_tables(peek: Peek, box: Box, track: Track, depth: int = 1) -> None:
    """Add what a box and those in it state."""
    first, second, third = struct.unpack(">III", peek(box.start + 4, 12).ljust(12, b"\0"))
    if depth > MAX_DEPTH or box.type == b"cmov":
        raise AudioError(Fault.UNSUPPORTED, "its index is compressed or nested too deeply")
    if box.type in PARENTS:
        for child in read_boxes(peek, box.start, box.stop):
            read_tables(peek, child, track, depth + 1)
    elif box.type in (b"stsd", b"wave", b"meta"):  # whose children begin after other fields
        for child in find_tables(peek, box):
            read_tables(peek, child, track, depth + 1)
    elif box.type in (b"stsz", b"stz2"):
        track.packets += second
    elif box.type == b"trun":
        track.packets += first
    elif box.type == b"elst":
        track.edits = max(track.edits, first)
    elif box.type in (b"stco", b"co64"):
        track.chunks = first
    elif box.type == b"stts":
        track.uncompressed = (first, third) == (1, 1)
    elif box.type == b"stsc":
        if first > MAX_PACKETS:  # each entry describes one chunk or more
            raise AudioError(Fault.DAMAGED, f"its index states {first:,} runs of chunks")
        table = peek(box.start + 8, min(12 * first, box.stop - box.start - 8))
        track.most = max((most for _, most, _ in struct.iter_unpack(">III", cut(table))), default=0)


def find_tables(peek: Peek, box: Box) -> Iterator[Box]:
    """What may be taken for tables in the first bytes of a box."""
    for match in TABLE.finditer(peek(box.start, min(box.stop - box.start, Peek.SIZE))):
        yield Box(match[0], box.start + match.end(), box.stop)


def cut(table: bytes) -> bytes:
    """The whole rows of a table of three 32-bit numbers."""
    return table[: len(table) // 12 * 12]
