"""The structure of files, by format: which parts a decoder is to read, and what is missing.

Each survey returns the parts of a file, with headers repaired if a decoder would misread them, and
a note on what is wrong. It raises AudioError if the file does not hold what its headers promise, or
too much of it is damaged.
"""

from collections.abc import Callable

from ser.audio import adts, amr, chunks, matroska, mp4, mpeg, ogg, riff, transport, voc
from ser.audio.sniff import HEAD, Container, begins_recording
from ser.audio.splice import Part, Peek


def survey_aac(peek: Peek) -> list[Part]:
    return adts.survey(peek, begins_other(mpeg.is_mpeg))


def survey_mpeg(peek: Peek) -> list[Part]:
    return mpeg.survey(peek, begins_other(adts.is_adts))


def begins_other(is_like: Callable[[bytes], bool]) -> mpeg.BeginsOther:
    """Whether another recording begins: of a format with a beginning of its own, or one like it."""

    def begins(peek: Peek, place: int) -> bool:
        head = peek(place, HEAD)
        return begins_recording(head) is not None or is_like(head)

    return begins


SURVEYS: dict[Container, Callable[[Peek], list[Part]]] = {
    Container.WAV: riff.survey_wav,
    Container.RF64: riff.survey_rf64,
    Container.W64: chunks.survey_w64,
    Container.AIFF: chunks.survey_aiff,
    Container.AU: chunks.survey_au,
    Container.NIST: chunks.survey_nist,
    Container.VOC: voc.survey,
    Container.CAF: chunks.survey_caf,
    Container.FLAC: chunks.survey_flac,
    Container.FLV: chunks.survey_flv,
    Container.AVI: riff.survey_avi,
    Container.ASF: chunks.survey_asf,
    Container.AMR: amr.survey,
    Container.MP4: mp4.survey,
    Container.MATROSKA: matroska.survey,
    Container.MPEG_TS: transport.survey_ts,
    Container.MPEG_PS: transport.survey_ps,
    Container.OGG: ogg.scan,
    Container.AAC: survey_aac,
    Container.MPEG: survey_mpeg,
}
