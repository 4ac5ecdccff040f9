"""Limits of a service: sizes, durations and numbers of requests."""

from dataclasses import dataclass

from ser.errors import require

SHORT_SECONDS = 60.0  # a recording with more audio than this is a long one
HEADER_SECONDS = 20.0  # for the headers of a request
BODY_GRACE_SECONDS = 10.0  # before the minimum rate applies to a request body
MIN_BODY_RATE = 2_000  # bytes per second, averaged after the grace period
MAX_WINDOWS = 1000  # per recording
RECEIVING_FACTOR = 4  # bodies received at once, as a multiple of the waiting recordings


@dataclass(frozen=True)
class Limits:
    """What a service accepts.

    `megabytes` bounds a request body and `audio_seconds` the duration of a recording. At most
    `waiting` short recordings and, separately, `waiting` long ones (more than `SHORT_SECONDS` of
    audio) are waiting or in progress, of which `decoders` each are decoded at once.
    `upload_timeout` is the time in seconds to receive a body, `timeout` the time from its last
    byte to the answer. `sessions` is the number of simultaneous live sessions.
    """

    megabytes: float = 25.0
    audio_seconds: float = 600.0
    waiting: int = 64
    timeout: float = 60.0
    upload_timeout: float = 120.0
    decoders: int = 2
    sessions: int = 8

    def __post_init__(self) -> None:
        options = {
            "--max-megabytes": self.megabytes,
            "--max-seconds": self.audio_seconds,
            "--max-waiting": self.waiting,
            "--timeout": self.timeout,
            "--upload-timeout": self.upload_timeout,
            "--max-decoders": self.decoders,
            "--max-live": self.sessions,
        }
        for option, value in options.items():
            require(value > 0, option, value, "must be positive")

    @property
    def bytes(self) -> int:
        return round(self.megabytes * 1e6)

    @property
    def receiving(self) -> int:
        """Number of request bodies that are received at once."""
        return RECEIVING_FACTOR * self.waiting

    @property
    def too_long(self) -> str:
        return f"it is longer than {self.audio_seconds:g} s; split it"

    @property
    def too_large(self) -> str:
        return f"the request is larger than {self.megabytes:g} MB; send a shorter recording"
