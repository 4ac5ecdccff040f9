"""Decode with FFmpeg through PyAV: M4A, WebM, AMR, WMA and the sound of video files.

Recordings come from anyone, so FFmpeg gets bytes and the name of one demuxer, chosen by content:
it can neither probe for others nor open further files. Only the codecs listed here are used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser.audio.damage import MAX_LOST, join_notes, note_loss
from ser.audio.recording import (
    BLOCK,
    BLOCK_SECONDS,
    MAX_CHANNELS,
    AudioError,
    Block,
    Fault,
    UnsupportedError,
    rate_change,
)
from ser.audio.sniff import Container
from ser.audio.splice import SplicedFile
from ser.errors import install_hint

DEMUXERS = {
    Container.WAV: "wav",
    Container.RF64: "wav",
    Container.W64: "w64",
    Container.AIFF: "aiff",
    Container.AU: "au",
    Container.CAF: "caf",
    Container.NIST: "nistsphere",
    Container.VOC: "voc",
    Container.FLAC: "flac",
    Container.OGG: "ogg",
    Container.MPEG: "mp3",
    Container.AAC: "aac",
    Container.AMR: "amr",
    Container.MP4: "mov",
    Container.MATROSKA: "matroska",
    Container.ASF: "asf",
    Container.AVI: "avi",
    Container.FLV: "flv",
    Container.MPEG_TS: "mpegts",
    Container.MPEG_PS: "mpeg",
}
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
# In these a demuxer passes over what it does not recognise, so a gap between timestamps is a loss.
# In others it may be a pause, or silence that was not sent.
RESYNCHRONISED = frozenset({Container.MPEG_TS, Container.MPEG_PS, Container.ASF})
JITTER = 1  # frames by which timestamps may differ from the samples before them
# Codecs with checksums, which FFmpeg only verifies on demand: it would make noise of other bytes.
VERIFIED = {"ac3", "eac3", "flac"}
INTEGERS = {"u8": 2.0**7, "s32": 2.0**31}


class FFmpegDecoder:
    """Samples of the best audio track of a file.

    Raises UnsupportedError if PyAV is not installed or the codec is not in CODECS, and AudioError
    if the file has no audio track or is damaged.
    """

    def __init__(self, kind: Container, file: SplicedFile, note: str = "") -> None:
        try:
            import av
        except ModuleNotFoundError as error:
            raise UnsupportedError(f"{kind} needs PyAV: `{install_hint('av')}`") from error
        self._av, self._file, self._kind, self.note = av, file, kind, note
        self._timing = Timing()
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
            cut = Fault.TRUNCATED if note else Fault.EMPTY
            raise AudioError(Fault.DAMAGED if self._timing.failed else cut)
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
            fault = Fault.TRUNCATED if self.note else Fault.EMPTY
            raise AudioError(fault, "it has no audio track")
        for other in self._container.streams:
            if other is not stream:
                other.discard = self._av.stream.Discard.all
        context = stream.codec_context
        if context is None or context.name not in CODECS:
            raise UnsupportedError(f"the codec {context.name if context else 'unknown'}")
        if context.channels > MAX_CHANNELS:
            raise UnsupportedError(f"{context.channels} channels")
        context.options = {"max_samples": str(MAX_FRAME)}
        if context.name in VERIFIED:
            context.options |= {"err_detect": "crccheck+explode"}
        context.thread_count = 1
        return stream

    def _decode(self, stream: Any) -> Iterator[Any]:
        """The frames of a track; raises AudioError once too much of it is damaged."""
        try:
            for packet in self._container.demux(stream):
                self._file.check()
                self._timing.arrive(packet)
                if self._kind in RESYNCHRONISED and self._timing.gap:
                    note_loss(self._timing.gap)
                for frame in self._decode_packet(packet):
                    self._timing.decoded(frame)
                    yield frame
        except self._av.FFmpegError as error:
            self._file.check()
            raise AudioError(Fault.DAMAGED, describe(error)) from error
        self._file.check()
        self.note = join_notes([self.note, self._timing.describe()])

    def _decode_packet(self, packet: Any) -> list[Any]:
        try:
            return packet.decode()
        except self._av.FFmpegError:
            self._file.check()
            self._timing.fail(packet)
            return []


@dataclass
class Timing:
    """The seconds of a track that were decoded, and those that are missing or damaged.

    `gap` is by how much timestamps run ahead of the samples; 0 if they agree.
    """

    seconds: float = 0.0
    failed: float = 0.0
    gap: float = 0.0
    corrupt: bool = False
    _begin: float | None = None  # the time of the packet that gave the first frame
    _time: float | None = None
    _frame: float = 0.0  # the length of the last one

    def arrive(self, packet: Any) -> None:
        self.corrupt |= packet.size > 0 and packet.is_corrupt
        if packet.pts is None or packet.time_base is None:
            return
        self._time = float(packet.pts * packet.time_base)
        if self._begin is None:
            return
        ahead = self._time - self._begin - self.seconds
        if ahead > MAX_LOST + JITTER * self._frame:
            self.gap = max(self.gap, ahead)

    def decoded(self, frame: Any) -> None:
        if self.seconds == 0:  # decoders deliver the first frame late
            self._begin = self._time
        self._frame = frame.samples / frame.sample_rate
        self.seconds += self._frame

    def fail(self, packet: Any) -> None:
        """Count a packet that cannot be decoded; one of any length is left out with a note."""
        stated = packet.duration and packet.time_base
        length = float(packet.duration * packet.time_base) if stated else self._frame
        self.failed += length
        note_loss(self.failed, 1.01 * length)

    def describe(self) -> str:
        """What is wrong with the track up to here, or ""."""
        lost = note_loss(self.failed, self.failed)
        if lost:
            return lost
        if self.gap:
            return f"its timestamps leave out {self.gap:.1f} s, which are not in the sound"
        return "some of its packets are damaged or cut off" if self.corrupt else ""


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
    if isinstance(error, BlockingIOError):  # of the demuxer for transport streams
        return "no further packet is found in it"
    return getattr(error, "strerror", None) or str(error)
