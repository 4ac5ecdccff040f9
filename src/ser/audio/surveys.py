"""The structure of files, by format: which parts a decoder is to read, and what is missing.

Each survey returns the parts of a file, with headers repaired if a decoder would misread them, and
a note on what is wrong. It raises AudioError if the file does not hold what its headers promise, or
too much of it is damaged.
"""

from collections.abc import Callable

from ser.audio import adts, amr, chunks, matroska, mp4, mpeg, ogg, riff, transport, voc
from ser.audio.sniff import Kind
from ser.audio.splice import Part, Peek

SURVEYS: dict[Kind, Callable[[Peek], list[Part]]] = {
    Kind.WAV: riff.survey_wav,
    Kind.RF64: riff.survey_rf64,
    Kind.W64: chunks.survey_w64,
    Kind.AIFF: chunks.survey_aiff,
    Kind.AU: chunks.survey_au,
    Kind.NIST: chunks.survey_nist,
    Kind.VOC: voc.survey,
    Kind.CAF: chunks.survey_caf,
    Kind.FLAC: chunks.survey_flac,
    Kind.FLV: chunks.survey_flv,
    Kind.AVI: riff.survey_avi,
    Kind.ASF: chunks.survey_asf,
    Kind.AMR: amr.survey,
    Kind.MP4: mp4.survey,
    Kind.MATROSKA: matroska.survey,
    Kind.MPEG_TS: transport.survey_ts,
    Kind.MPEG_PS: transport.survey_ps,
    Kind.OGG: ogg.scan,
    Kind.AAC: adts.survey,
    Kind.MPEG: mpeg.survey,
}
