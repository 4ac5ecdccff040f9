"""Frames of MPEG audio (MP3), which state no length for the whole file.

libsndfile estimates the length of an MP3 from its first frame unless a Xing header states it, and
libmpg123 stops at junk between frames. So all frame headers are read here (ISO/IEC 11172-3 and
13818-3), and libsndfile gets the frames alone, behind a Xing header with their number.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from ser.audio.damage import CUT, join_notes, note_loss
from ser.audio.recording import AudioError, Fault
from ser.audio.splice import Part, Peek, Segment

KBPS = {  # by (MPEG 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
LIKE_A_HEADER = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
ENOUGH = 3  # frames in a row that distinguish MPEG audio from other data
MAX_JUNK = 2**20  # bytes outside of frames and tags
MAX_STREAMS = 1000  # in one file
MAX_DELAY = 2 * 4095 + 1152  # samples that a LAME header lets a decoder remove, and a frame
INFO_END = 54  # bytes from the beginning of a frame to the end of its length header
MAX_PADDING = 4096  # bytes of zeros behind the last frame
END_TAGS = {b"TAG+": 227, b"TAG": 128}  # bytes of ID3v1
SLACK = 2  # frames; encoders disagree on whether the Xing header counts its own frame


BeginsOther = Callable[[Peek, int], bool]
"""Whether a recording of another format begins at an offset."""


@dataclass(frozen=True)
class Frame:
    """The header of a frame: its bytes and samples, and what it shares with its stream.

    `stream` holds version, layer, rate in Hz, and whether it is mono.
    """

    size: int
    samples: int
    stream: tuple[int, int, int, bool]


@dataclass
class Stream:
    """The frames of one MP3 stream: a file may hold several, one after another.

    `info` is the place of its Xing header, `promised` the number of frames stated there or in a
    VBRI header, 0 if unknown. `before` and `lost` count bytes before the first frame and between
    others, and `cut` says that the last frame is incomplete.
    """

    header: bytes
    frame: Frame
    info: range = range(0)
    promised: int = 0
    frames: int = 0
    segments: list[Segment] = field(default_factory=list)
    before: int = 0
    lost: int = 0
    cut: bool = False

    @property
    def samples(self) -> int:
        return self.frames * self.frame.samples

    def add(self, place: range) -> None:
        """Add the frame at these offsets; it is joined to the last one if nothing is between."""
        last = self.segments[-1] if self.segments else None
        if isinstance(last, range) and last.stop == place.start:
            self.segments[-1] = range(last.start, place.stop)
        else:
            self.segments.append(place)
        self.frames += 1

    @property
    def note(self) -> str:
        """What is wrong with the stream, or ""; raises AudioError if too much of it is lost.

        Nothing is lost beside the frames if there are as many as promised.
        """
        if not self.frames or (self.promised and self.frames >= self.promised):
            return ""
        held = sum(map(len, self.segments))
        seconds = self.samples / self.frame.stream[2]
        before = f"{self.before:,} bytes before its first frame are left out"
        lost = note_loss(self.lost / held * seconds)
        return join_notes([before if self.before else "", lost, CUT if self.cut else ""])

    def part(self) -> Part:
        """The frames, and if need be a header that states their number."""
        if self.info and abs(self.promised - self.frames) <= SLACK:
            return Part([self.info, *self.segments], self.samples - MAX_DELAY, note=self.note)
        if self.frame.stream[1] != 3:
            return Part(self.segments, self.samples, note=self.note)
        counted = [xing_frame(self.header, self.frames), *self.segments]
        return Part(self.segments, self.samples, counted, self.note)


def id3_size(head: bytes) -> int:
    """The size in bytes of the ID3v2 tag that begins here, or 0."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if head[5] & 0x10 else 0)


@lru_cache(maxsize=1024)
def parse_header(head: bytes) -> Frame | None:
    """The frame of MPEG audio that begins with these four bytes."""
    if len(head) < 4 or not LIKE_A_HEADER.match(head):
        return None
    version, layer, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 2 & 3
    if version == 1 or layer == 4 or rate == 3:
        return None
    hertz = RATES[version][rate]
    bits = KBPS[version == 3, layer][(head[2] >> 4) - 1] * 1000
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    size = (samples // 8 * bits // hertz // slot + (head[2] >> 1 & 1)) * slot
    return Frame(size, samples, (version, layer, hertz, head[3] >> 6 == 3))


@dataclass(frozen=True)
class Syntax:
    """How the frames of a format begin: a pattern, the bytes of a header, and what it means."""

    begin: re.Pattern[bytes]
    length: int
    parse: Callable[[bytes], Frame | None]

    def frame_at(self, peek: Peek, place: int) -> Frame | None:
        return self.parse(peek(place, self.length))


LAYERS = Syntax(LIKE_A_HEADER, 4, parse_header)


def is_mpeg(head: bytes) -> bool:
    """Whether frames of MPEG audio follow each other, from the first byte on or behind junk."""
    for match in LIKE_A_HEADER.finditer(head):
        place, stream, frames = match.start(), None, 0
        while frame := parse_header(head[place : place + 4]):
            if stream not in (None, frame.stream):
                break
            place, stream, frames = place + frame.size, frame.stream, frames + 1
        if frames >= ENOUGH or (frames and match.start() == 0 and place == len(head)):
            return True
    return False


def scan(peek: Peek, begins_other: BeginsOther, syntax: Syntax = LAYERS) -> list[Stream]:
    """The streams of an MP3 file, or of AAC frames.

    Raises AudioError if a stream states more frames than there are, if the file is mostly junk, or
    if `begins_other` finds a recording of another format behind frames. An incomplete last frame
    is left out.
    """
    streams: list[Stream] = []
    place = junk = before = 0
    while place < peek.size:
        head = peek(place, INFO_END)
        frame = syntax.parse(head[: syntax.length])
        if frame and (in_stream(streams, frame) or confirmed(peek, place, frame, syntax)):
            if place + frame.size > peek.size:
                for stream in streams[-1:]:
                    stream.cut = True
                break
            add_frame(streams, frame, head, range(place, place + frame.size))
            place += frame.size
        elif size := tag_size(head):
            place += size
        else:
            if streams and begins_other(peek, place):
                raise AudioError(Fault.SEVERAL)
            found = find_frame(peek, place + 1, place + MAX_JUNK, syntax)
            lost = count_lost(peek, place, found)
            if streams:
                streams[-1].lost += lost
            elif peek(place, found - place).strip(b"\0"):  # else padding
                before += lost
            junk += found - place
            place = found
        if junk > MAX_JUNK or len(streams) > MAX_STREAMS:
            raise AudioError(Fault.DAMAGED, "most of it is not MPEG audio")
    check_promises(streams)
    for stream in streams[:1]:
        stream.before = before
    return streams


def survey(peek: Peek, begins_other: BeginsOther) -> list[Part]:
    """The streams of an MP3 file, each behind a header that states its length if need be."""
    return [stream.part() for stream in scan(peek, begins_other)]


def count_lost(peek: Peek, place: int, stop: int) -> int:
    """The bytes between two offsets behind a frame, unless they pad the file."""
    size = stop - place
    padding = stop == peek.size and size <= MAX_PADDING and not peek(place, size).strip(b"\0")
    return 0 if padding else size


def in_stream(streams: list[Stream], frame: Frame) -> bool:
    return bool(streams) and streams[-1].frame.stream == frame.stream


def confirmed(peek: Peek, place: int, frame: Frame, syntax: Syntax) -> bool:
    """Whether another frame of the same stream follows, or the file ends."""
    place += frame.size
    following = syntax.frame_at(peek, place)
    return place >= peek.size or (following is not None and following.stream == frame.stream)


def tag_size(head: bytes) -> int:
    """The size of the ID3 or APEv2 tag that begins here, or 0."""
    if head.startswith(b"APETAGEX"):
        return 32 + int.from_bytes(head[12:16], "little")
    ends = (size for name, size in END_TAGS.items() if head.startswith(name))
    return id3_size(head) or next(ends, 0)


def find_frame(peek: Peek, start: int, stop: int, syntax: Syntax) -> int:
    """The offset of the next frame that another one confirms, or of the end of the search."""
    stop = min(stop, peek.size)
    while start < stop:
        block = peek(start, Peek.SIZE)
        for match in syntax.begin.finditer(block):
            place = start + match.start()
            frame = syntax.frame_at(peek, place)
            if frame and confirmed(peek, place, frame, syntax):
                return place
        start += max(1, len(block) - 2)
    return peek.size if stop == peek.size else stop


def add_frame(streams: list[Stream], frame: Frame, head: bytes, place: range) -> None:
    """Add a frame to the last stream, or begin one if it is a header or of another kind."""
    name, promised = read_info(head, frame)
    if name or not in_stream(streams, frame):
        streams.append(Stream(head[:4], frame, promised=promised))
    if not name:
        streams[-1].add(place)
    elif name != b"VBRI":  # which libmpg123 would decode
        streams[-1].info = place


def info_offset(frame: Frame) -> int:
    """Where the Xing header stands in a frame of layer 3: behind its side information."""
    version, _, _, mono = frame.stream
    return 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))


def read_info(head: bytes, frame: Frame) -> tuple[bytes, int]:
    """The name of the length header in a frame, if it is one, and the frames that it states."""
    if frame.stream[1] != 3:
        return b"", 0
    start = info_offset(frame)
    name, flags, count = head[start : start + 4], head[start + 7 : start + 8], head[start + 8 :][:4]
    if name in (b"Xing", b"Info") and flags:
        return name, int.from_bytes(count, "big") if flags[0] & 1 else 0
    if head[36:40] == b"VBRI":
        return b"VBRI", int.from_bytes(head[50:54], "big")
    return b"", 0


def xing_frame(header: bytes, frames: int) -> bytes:
    """A frame like that of `header` that states the number of the frames behind it."""
    # The highest bit rate has room enough; there is no checksum and no padding.
    head = bytes([header[0], header[1] | 1, 0xE0 | header[2] & 0x0C, header[3]])
    frame = parse_header(head)
    assert frame is not None
    body = bytes(info_offset(frame) - 4) + b"Xing" + struct.pack(">II", 1, frames)
    return (head + body).ljust(frame.size, b"\0")


def check_promises(streams: list[Stream]) -> None:
    for stream in streams:
        if stream.frames < stream.promised - SLACK:
            raise AudioError(
                Fault.TRUNCATED, f"{stream.frames:,} of {stream.promised:,} MP3 frames"
            )
