"""Decode with FFmpeg through PyAV: M4A, WebM, AMR, WMA and the sound of video files.

Recordings come from anyone, so FFmpeg gets bytes and the name of one demuxer, chosen by content:
it can neither probe for others nor open further files. Only the codecs listed here are used.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ser.audio.recording import (
    BLOCK,
    BLOCK_SECONDS,
    AudioError,
    Block,
    Fault,
    UnsupportedError,
    rate_change,
)
from ser.audio.sniff import Kind
from ser.audio.splice import SplicedFile
from ser.errors import install_hint

DEMUXERS = {
    Kind.WAV: "wav", Kind.RF64: "wav", Kind.W64: "w64", Kind.AIFF: "aiff", Kind.AU: "au",
    Kind.CAF: "caf", Kind.NIST: "nistsphere", Kind.VOC: "voc", Kind.FLAC: "flac",
    Kind.OGG: "ogg", Kind.MPEG: "mp3", Kind.AAC: "aac", Kind.AMR: "amr", Kind.MP4: "mov",
    Kind.MATROSKA: "matroska", Kind.ASF: "asf", Kind.AVI: "avi", Kind.FLV: "flv",
    Kind.MPEG_TS: "mpegts", Kind.MPEG_PS: "mpeg",
}  # fmt: skip
CODECS = frozenset({
    "aac", "aac_latm", "ac3", "eac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf",
    "adpcm_yamaha", "alac", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "flac",
    "g722", "g726", "g726le", "gsm", "gsm_ms", "mp1", "mp1float", "mp2", "mp2float", "mp3",
    "mp3float", "nellymoser", "opus", "libopus", "speex", "vorbis", "wmalossless", "wmapro",
    "wmav1", "wmav2", "wmavoice", "pcm_alaw", "pcm_mulaw", "pcm_f32be", "pcm_f32le", "pcm_f64be",
    "pcm_f64le", "pcm_s16be", "pcm_s16be_planar", "pcm_s16le", "pcm_s16le_planar", "pcm_s24be",
    "pcm_s24le", "pcm_s24le_planar", "pcm_s32be", "pcm_s32le", "pcm_s32le_planar", "pcm_s8",
    "pcm_u8",
})  # fmt: skip
OPTIONS = {
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "",
    "max_streams": "64",
}
MAX_FRAME = 2**18  # samples of each channel in one frame
MAX_CHANNELS = 64
MAX_LOST = 0.01  # share of packets that cannot be decoded, beside the first and the last ones
INTEGERS = {"u8": 2.0**7, "s32": 2.0**31}


class FFmpegDecoder:
    """Samples of the best audio track of a file.

    Raises UnsupportedError if PyAV is not installed or the codec is not in CODECS, and AudioError
    if the file has no audio track or is damaged.
    """

    def __init__(self, kind: Kind, file: SplicedFile) -> None:
        try:
            import av
        except ModuleNotFoundError as error:
            raise UnsupportedError(f"{kind} needs PyAV: `{install_hint('av')}`") from error
        self._av, self._file = av, file
        self._packets = self._errors = 0
        self._container = self._open(DEMUXERS[kind])
        try:
            stream = self._choose()
            self._frames = self._decode(stream)
            self._ahead = next(self._frames, None)
        except BaseException:
            self.close()
            raise
        if self._ahead is None:
            self.close()
            raise AudioError(Fault.DAMAGED if self._errors else Fault.EMPTY)
        self.sample_rate, self.channels = self._ahead.sample_rate, self._ahead.layout.nb_channels
        self.format = f"{kind} {stream.codec_context.name.upper()}"

    def read(self) -> Block:
        """The next samples (time, channels), int16 or float32; none at the end."""
        blocks, frames = [], 0
        frame = self._ahead
        limit = min(BLOCK, BLOCK_SECONDS * self.sample_rate)
        while frame is not None:
            if frame.sample_rate != self.sample_rate:
                raise rate_change(self.sample_rate, frame.sample_rate)
            channels = frame.layout.nb_channels
            full = blocks and (frames + frame.samples) * channels > limit
            if full or (blocks and channels != blocks[0].shape[1]):
                break
            blocks.append(to_block(frame))
            frames += frame.samples
            frame = next(self._frames, None)
        self._ahead = frame
        return np.concatenate(blocks) if blocks else np.zeros((0, self.channels), np.float32)

    def skip(self, frames: int) -> int:
        """FFmpeg's positions are not exact, so nothing is passed over."""
        return 0

    def close(self) -> None:
        self._container.close()

    def _open(self, demuxer: str) -> Any:
        try:
            return self._av.open(
                self._file,
                "r",
                format=demuxer,
                options=OPTIONS | {"format_whitelist": demuxer},
                metadata_errors="replace",
                io_open=refuse,
            )
        except (self._av.FFmpegError, ValueError) as error:
            self._file.check()
            raise AudioError(Fault.DAMAGED, describe(error)) from error

    def _choose(self) -> Any:
        stream = self._container.streams.best("audio")
        if stream is None:
            raise AudioError(Fault.EMPTY, "it has no audio track")
        for other in self._container.streams:
            if other is not stream:
                other.discard = self._av.stream.Discard.all
        context = stream.codec_context
        if context is None or context.name not in CODECS:
            raise UnsupportedError(f"the codec {context.name if context else 'unknown'}")
        if context.channels > MAX_CHANNELS:
            raise UnsupportedError(f"{context.channels} channels")
        context.options = {"max_samples": str(MAX_FRAME)}
        context.thread_count = 1
        return stream

    def _decode(self, stream: Any) -> Iterator[Any]:
        """The frames of a track; raises AudioError once too many of its packets are damaged."""
        try:
            for packet in self._container.demux(stream):
                self._file.check()
                self._packets += 1
                yield from self._decode_packet(packet)
        except self._av.FFmpegError as error:
            self._file.check()
            raise AudioError(Fault.DAMAGED, describe(error)) from error
        self._file.check()

    def _decode_packet(self, packet: Any) -> list[Any]:
        try:
            return packet.decode()
        except self._av.FFmpegError as error:
            self._file.check()
            self._errors += 1
            if self._errors > 2 + MAX_LOST * self._packets:
                detail = f"{self._errors} packets: {describe(error)}"
                raise AudioError(Fault.DAMAGED, detail) from error
            return []


def to_block(frame: Any) -> Block:
    """The samples (time, channels) of a frame."""
    samples, name = frame.to_ndarray(), frame.format.name.removesuffix("p")
    samples = samples.T if frame.format.is_planar else samples.reshape(frame.samples, -1)
    if name == "s16":
        return samples
    samples = samples.astype(np.float32)
    if name == "u8":
        samples -= 128
    return samples / np.float32(INTEGERS[name]) if name in INTEGERS else samples


def refuse(*arguments: object, **options: object) -> Any:
    """No file is opened beside the one that was given."""
    raise PermissionError("a recording refers to another file")


def describe(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
