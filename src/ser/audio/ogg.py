"""Pages of OGG files (RFC 3533): whether the file is whole, and where chained streams begin."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ser.audio.chunks import note_rest
from ser.audio.recording import AudioError, Fault
from ser.audio.splice import Part, Peek

HEADER = 27  # bytes before the segment table
FIRST = 2  # flag of the first page of a logical stream
MAX_LINKS = 1000
CHECKSUM = slice(22, 26)  # of a header
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # bytes with reversed bits


@dataclass(frozen=True)
class Page:
    """A page from offset `start` to `stop`; the last one may reach beyond the end of the file.

    `lost` is the number of bytes before it that belong to no page.
    """

    start: int
    stop: int
    first: bool  # of a logical stream
    lost: int


def scan(peek: Peek) -> list[Part]:
    """The links of a chained file, mostly one; libsndfile reads only the first of several.

    Raises AudioError if the last page is cut off, or another one is damaged: decoders would leave
    it out.
    """
    links, previous, end = list[int](), False, 0
    for page in read_pages(peek, 0):
        if page.first and not previous:  # the first pages of multiplexed streams come together
            links.append(page.start)
        previous, end = page.first, page.stop
        if page.stop > peek.size:
            raise AudioError(Fault.TRUNCATED, "its last OGG page is cut off")
        intact = is_intact(peek(page.start, page.stop - page.start))
        if not intact or (page.lost and not page.first):
            raise AudioError(Fault.DAMAGED, f"its OGG page at byte {page.start:,} is damaged")
        if len(links) > MAX_LINKS:
            raise AudioError(Fault.DAMAGED, f"more than {MAX_LINKS:,} chained streams")
    links = links or [0]
    parts = [range(first, stop) for first, stop in zip(links, [*links[1:], peek.size], strict=True)]
    return [Part([part], note=note_rest(peek, end)) for part in parts]


def read_pages(peek: Peek, place: int) -> Iterator[Page]:
    """The pages from an offset on; bytes between them are passed over."""
    lost = 0
    while True:
        header = peek(place, HEADER + 255)
        if not header.startswith(b"OggS"):
            found = find_page(peek, place)
            if found < 0:
                return
            lost, place = found - place, found
            continue
        table = header[HEADER : HEADER + header[26]] if len(header) >= HEADER else b""
        whole = len(header) >= HEADER and len(table) == header[26]
        stop = place + HEADER + len(table) + sum(table) if whole else peek.size + 1
        yield Page(place, stop, bool(header[5:6] and header[5] & FIRST), lost)
        place, lost = stop, 0


def is_intact(page: bytes) -> bool:
    """Whether the checksum of a page is right.

    It is a CRC-32 with the polynomial of zlib, but of reversed bits and without its inversions.
    """
    blank = page[: CHECKSUM.start] + bytes(4) + page[CHECKSUM.stop :]
    found = ~zlib.crc32(blank.translate(REVERSED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2) == int.from_bytes(page[CHECKSUM], "little")


def find_page(peek: Peek, place: int) -> int:
    """The offset of the next page, or -1 if there is none."""
    while place < peek.size:
        found = peek(place, Peek.SIZE).find(b"OggS")
        if found >= 0:
            return place + found
        place += Peek.SIZE - 3
    return -1
