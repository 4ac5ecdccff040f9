"""How much of a recording may be missing: one rule for all formats.

Decoders skip damaged frames, so seconds would be lost silently.
"""

from collections.abc import Iterable

from ser.audio.recording import AudioError, Fault

MAX_LOST = 0.1  # seconds
CUT = "its last frame is incomplete, so its end may be missing"


def note_loss(seconds: float, frame: float = 0.0) -> str:
    """A note on a damaged part of this many seconds, "" if there is none.

    Raises AudioError if it is longer than MAX_LOST and than a frame of `frame` seconds: what is
    said may be in it.
    """
    if seconds > max(MAX_LOST, frame):
        raise AudioError(Fault.DAMAGED, f"about {seconds:.1f} s of it are lost")
    if seconds <= 0:
        return ""
    return f"about {seconds:.2f} s of it are damaged and left out, and more may be missing there"


def join_notes(notes: Iterable[str]) -> str:
    """The different notes, those that are not empty."""
    return "; ".join(dict.fromkeys(note for note in notes if note))
