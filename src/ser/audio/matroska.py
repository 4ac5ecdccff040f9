"""Elements of Matroska and WebM files (RFC 8794 and RFC 9559): whether the file is whole.

Demuxers pass over what they do not understand, so a damaged file would lose seconds silently.
"""

from ser.audio.chunks import note_rest
from ser.audio.damage import CUT
from ser.audio.recording import AudioError, Fault
from ser.audio.splice import Part, Peek

SLACK = 128  # bytes that may be missing at the end
SEGMENT, CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")
# Elements of a segment (its index, tracks and tags, ...) and of its clusters.
KNOWN = frozenset(
    bytes.fromhex(name)
    for name in (
        *("114d9b74", "1549a966", "1654ae6b", "1c53bb6b", "1043a770", "1941a469", "1254c367"),
        *("1f43b675", "e7", "5854", "a7", "ab", "a3", "a0", "af", "ec", "bf"),
    )
)


def survey(peek: Peek) -> list[Part]:
    """The file; raises AudioError if its elements do not follow each other up to its end.

    A stream does not state the size of its segment, and may end anywhere.
    """
    whole = [Part([range(peek.size)])]
    _, place, size = read_element(peek, 0)
    name, place, size = read_element(peek, place + (size or 0))
    if name != SEGMENT:
        return whole
    end = peek.size if size is None else place + size
    while place < min(end, peek.size):
        name, content, length = read_element(peek, place)
        if name not in KNOWN:
            raise AudioError(Fault.DAMAGED, f"there is no Matroska element at byte {place:,}")
        place = content if name == CLUSTER else content + (length or 0)
    if size is not None and max(place, end) > peek.size + SLACK:
        raise AudioError(Fault.TRUNCATED, f"{peek.size:,} of {max(place, end):,} bytes")
    note = CUT if place > peek.size else note_rest(peek, place)
    return [Part([range(peek.size)], note=note)]


def read_element(peek: Peek, place: int) -> tuple[bytes, int, int | None]:
    """The id of the element at an offset, where its content begins, and the size of that.

    The size is None if it is not stated.
    """
    head = peek(place, 12)
    width = count_bytes(head)
    content = head[width:]
    length = count_bytes(content)
    most = (1 << 7 * length) - 1
    size = int.from_bytes(content[:length], "big") & most
    return head[:width], place + width + length, None if size == most else size


def count_bytes(data: bytes) -> int:
    """The length of the number of variable length that begins here."""
    return 9 - data[0].bit_length() if data and data[0] else 8
