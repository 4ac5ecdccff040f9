"""Frames of AAC streams (ADTS, ISO/IEC 13818-7)."""

import re

from ser.audio.damage import join_notes
from ser.audio.mpeg import ENOUGH, BeginsOther, Frame, Syntax, scan
from ser.audio.splice import Part, Peek

RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000,
         11_025, 8000, 7350)  # fmt: skip
LIKE_ADTS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")


def parse_adts(head: bytes) -> Frame | None:
    """The AAC frame that begins with these bytes."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    rate = RATES[head[2] >> 2 & 15]
    return Frame(size, 1024, (head[1] >> 3 & 1, 0, rate, False)) if size > 7 else None


ADTS = Syntax(LIKE_ADTS, 7, parse_adts)


def is_adts(head: bytes) -> bool:
    """Whether AAC frames follow each other from the first byte on."""
    place = frames = 0
    while frames < ENOUGH and place < len(head):
        frame = parse_adts(head[place : place + 7])
        if frame is None:
            return False
        place, frames = place + frame.size, frames + 1
    return frames == ENOUGH or (frames > 0 and place == len(head))


def survey(peek: Peek, begins_other: BeginsOther) -> list[Part]:
    """The file; raises AudioError if too much of it is lost beside its AAC frames."""
    streams = scan(peek, begins_other, ADTS)
    note = join_notes(stream.note for stream in streams)
    last = streams[-1].segments[-1:] if streams else []
    end = last[0].stop if last and isinstance(last[0], range) else peek.size
    return [Part([range(end)], note=note)]
