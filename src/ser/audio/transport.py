"""Packets of MPEG transport and program streams (ISO/IEC 13818-1): whether the last one is whole.

`ser.audio.ffmpeg` finds gaps before it by timestamps.
"""

from ser.audio import mpeg
from ser.audio.damage import CUT
from ser.audio.recording import AudioError, Fault
from ser.audio.sniff import HEAD, begins_recording
from ser.audio.splice import Part, Peek

SYNC = b"G"
LENGTHS = (188, 192, 204)  # of a packet: bare, behind a time, before a checksum
PACK, END = b"\0\0\1\xba", b"\0\0\1\xb9"


def survey_ts(peek: Peek) -> list[Part]:
    begins = (0, 4)  # of the sync byte in a packet
    fits = (n for n in LENGTHS for b in begins if all(peek(b + k * n, 1) == SYNC for k in range(3)))
    length = next(fits, 1)
    return [Part([range(peek.size)], note=CUT if peek.size % length else "")]


def survey_ps(peek: Peek) -> list[Part]:
    place = 0
    while (head := peek(place, 14)).startswith(b"\0\0\1"):
        if head.startswith(END):
            place += len(END)
        elif head.startswith(PACK):
            second = head[4:5] >= b"\x40"  # of the two versions, which has stuffing bytes
            place += 14 + (head[-1] & 7) if second else 12
        else:
            place += 6 + int.from_bytes(head[4:6], "big")
    if begins_recording(head := peek(place, HEAD)) or mpeg.parse_header(head[:4]):
        raise AudioError(Fault.SEVERAL)
    return [Part([range(peek.size)], note=CUT if place > peek.size else "")]
