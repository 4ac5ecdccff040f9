"""Frames of AMR files (RFC 4867): whether they follow each other up to the end.

Nothing marks the beginning of a frame, so behind a damaged one decoders make noise of the others.
"""

from ser.audio.damage import CUT, join_notes, note_loss
from ser.audio.recording import AudioError, Fault
from ser.audio.splice import Part, Peek

WIDE = b"#!AMR-WB\n"
# Bytes of a frame by its type; type 15 stands for no data, 14 for a lost frame.
NARROW_SIZES = {**dict(enumerate((13, 14, 16, 18, 20, 21, 27, 32, 6))), 15: 1}
WIDE_SIZES = {**dict(enumerate((18, 24, 33, 37, 41, 47, 51, 59, 61, 6))), 14: 1, 15: 1}
NO_DATA = 15
INTACT, PADDING = 0x04, 0x83  # bits of the first byte: the quality, and those that are 0
SECONDS = 0.02  # in a frame


def survey(peek: Peek) -> list[Part]:
    """The file; raises AudioError if its frames do not follow each other, or many are damaged."""
    wide = peek(0, len(WIDE)) == WIDE
    sizes = WIDE_SIZES if wide else NARROW_SIZES
    begin = WIDE if wide else b"#!AMR\n"
    place = end = len(begin)
    bad = 0
    while place < peek.size:
        [first] = peek(place, 1)
        kind = first >> 3 & 15
        if first & PADDING or kind not in sizes:
            if peek(place, len(begin)) == begin:
                raise AudioError(Fault.SEVERAL)
            raise AudioError(Fault.DAMAGED, f"there is no AMR frame at byte {place:,}")
        bad += kind != NO_DATA and not first & INTACT
        place += sizes[kind]
        end = place if place <= peek.size else end
    notes = (note_loss(bad * SECONDS), CUT if place > peek.size else "")
    return [Part([range(end)], note=join_notes(notes))]
