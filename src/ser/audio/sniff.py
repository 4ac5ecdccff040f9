"""Recognise recordings by their first bytes; suffixes are ignored.

Only formats listed here reach a decoder, so playlists, subtitles and other files that make FFmpeg
open further files never do.
"""

import codecs
import re
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from ser.audio import adts, mpeg
from ser.errors import UserError

HEAD = 8192  # bytes that are enough for `identify`
SUFFIXES = frozenset(
    {".wav", ".wave", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph"}
    | {".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".aac", ".amr", ".wma", ".mka"}
    | {".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".mkv", ".ogv", ".avi", ".wmv", ".asf"}
    | {".flv", ".mpg", ".mpeg", ".m2ts", ".mts", ".vob", ".voc", ".spx", ".mp1", ".m4b", ".weba"}
)
"""Suffixes that recordings usually have, for messages and file dialogs."""


class Buffered(Protocol):
    """A stream that gives what there is, without waiting for more."""

    def read1(self, size: int, /) -> bytes: ...


class Container(StrEnum):
    """A container format."""

    WAV = "WAV"
    RF64 = "RF64"
    W64 = "W64"
    AIFF = "AIFF"
    AU = "AU"
    CAF = "CAF"
    NIST = "NIST"
    VOC = "VOC"
    FLAC = "FLAC"
    OGG = "OGG"
    MPEG = "MP3"
    AAC = "AAC"
    AMR = "AMR"
    MP4 = "MP4"
    MATROSKA = "Matroska"
    ASF = "ASF"
    AVI = "AVI"
    FLV = "FLV"
    MPEG_TS = "MPEG-TS"
    MPEG_PS = "MPEG-PS"


W64_RIFF = bytes.fromhex("72696666 2e91cf11 a5d628db 04c10000")
ASF_HEADER = bytes.fromhex("3026b275 8e66cf11 a6d900aa 0062ce6c")
MAGIC = {
    rb"RIF[FX].{4}WAVE": Container.WAV,
    rb"RF64.{4}WAVE": Container.RF64,
    re.escape(W64_RIFF): Container.W64,
    rb"FORM.{4}AIF[FC]": Container.AIFF,
    rb"\.snd\0|dns\...\0\0": Container.AU,
    rb"caff\0": Container.CAF,
    rb"NIST_1A\n": Container.NIST,
    rb"Creative Voice File\x1a": Container.VOC,
    rb"fLaC": Container.FLAC,
    rb"OggS\0": Container.OGG,
    rb"#!AMR(-WB)?\n": Container.AMR,
    rb".{4}(ftyp|mdat)|\0.{3}(moov|wide|skip|free|pnot)": Container.MP4,
    rb"\x1aE\xdf\xa3": Container.MATROSKA,
    re.escape(ASF_HEADER): Container.ASF,
    rb"RIFF.{4}AVI ": Container.AVI,
    rb"FLV\x01": Container.FLV,
    rb"(.{4})?G(.{187}|.{191})G(.{187}|.{191})G": Container.MPEG_TS,
    rb"\0\0\x01\xba": Container.MPEG_PS,
}
PATTERNS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in MAGIC.items()]
LINE = 64  # bytes that tell text from a recording
BINARY = re.compile(rb"\xff|.*[\0-\x08\x0b\x0c\x0e-\x1f]", re.DOTALL)
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NUL_LIST = re.compile(rb"([^\0-\x1f\xff]+\0)+[^\0-\x1f\xff]*")  # as of `find -print0`
RAW = (
    "standard input is neither a recording of a known format nor a list of paths; raw samples need"
    " a header: `ffmpeg -f s16le -ar 16000 -ac 1 -i - -f wav -`"
)


def identify(head: bytes) -> Container | None:
    """The format of a file that begins with `head`, HEAD bytes or the whole file.

    None if it is not a recording. A file that begins with an ID3 tag is taken for an MP3.
    """
    if (kind := begins_recording(head)) is not None:
        return kind
    if mpeg.id3_size(head):
        return Container.MPEG
    if adts.is_adts(head):
        return Container.AAC
    return Container.MPEG if mpeg.is_mpeg(head) else None


def begins_recording(head: bytes) -> Container | None:
    """The format of a file by the bytes with which it must begin; None for those without any."""
    return next((kind for pattern, kind in PATTERNS if pattern.match(head)), None)


def locate(file: BinaryIO) -> tuple[Container | None, int, bytes]:
    """The format of a file, the offset at which it begins after ID3 tags, and its bytes there."""
    start, head = 0, read_head(file, 0)
    while size := mpeg.id3_size(head):
        start += size
        head = read_head(file, start)
    kind = identify(head)
    if start and kind is None:  # an MP3 with a damaged beginning, or a tag and nothing else
        kind = Container.MPEG
    return kind, start, head


def read_head(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(HEAD)


def read_input(stream: Buffered) -> tuple[bytes, bool]:
    """The first bytes of a stream, and whether a recording begins with them, else text.

    Text is not waited for beyond its first line. Raises UserError for raw samples and other bytes.
    """
    head = b""
    while len(head) < HEAD and (more := stream.read1(HEAD - len(head))):
        head += more
        text = not BINARY.match(head) and identify(head) is None
        if text and (len(head) >= LINE or b"\n" in head):
            return head, False
    if identify(head) is not None:
        return head, True
    if BINARY.match(head) and not is_wide_text(head) and not NUL_LIST.fullmatch(head):
        raise UserError(RAW)
    return head, False


def is_wide_text(head: bytes) -> bool:
    """Whether bytes are text in UTF-16; samples may begin with its mark too."""
    if not head.startswith(UTF_16):
        return False
    text = head.decode("utf-16", "ignore")
    if not text or re.search(r"[\0-\x08\x0e-\x1f\ufffd-\uffff]", text):
        return False
    return "\n" in text or text.isascii()


def is_recording(path: Path) -> bool:
    """Whether a file is a recording, by its first bytes; False if it cannot be read."""
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            return False
        with path.open("rb", buffering=0) as file:
            return identify(file.read(HEAD)) is not None
    except OSError:
        return False
