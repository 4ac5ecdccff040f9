"""How to predict recordings: plain values, which can be sent to other processes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ser.audio.recording import MIN_SECONDS, Source
from ser.config.fields import require_speeds
from ser.config.hub import require_model
from ser.config.precision import Precision
from ser.errors import require
from ser.inference.prediction import Failure, Prediction

if TYPE_CHECKING:
    from ser.inference.predictor import Predictor


@dataclass(frozen=True)
class WindowConfig:
    """Windows of `window` seconds that start every `hop` seconds."""

    window: float = 3.0
    hop: float = 1.0

    def __post_init__(self) -> None:
        within = MIN_SECONDS <= self.window <= 3600
        require(within, "window", self.window, f"from {MIN_SECONDS} s to an hour")
        require(0.01 <= self.hop <= self.window, "hop", self.hop, "from 0.01 s to the window")

    @classmethod
    def live(cls, window: float, hop: float | None) -> "WindowConfig":
        """The windows of live predictions: without a hop one per second, or end to end if shorter.

        Raises UserError for invalid lengths.
        """
        return cls(window, min(1.0, window) if hop is None else hop)

    @classmethod
    def choose(cls, window: float | None, hop: float | None) -> "WindowConfig | None":
        """The windows that were asked for, which overlap by half without a hop; None if none were.

        Raises UserError for invalid lengths, and for a hop without a window.
        """
        require(hop is None or window is not None, "hop", hop, "needs a window")
        if window is None:
            return None
        return cls(window, window / 2 if hop is None else hop)


class Format(StrEnum):
    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    textgrid = "textgrid"
    vtt = "vtt"
    audacity = "audacity"


class Pool(StrEnum):
    """One vector per recording, or one per frame."""

    mean = "mean"
    none = "none"


@dataclass(frozen=True)
class PredictorConfig:
    """A model and how to predict with it; `Predictor` explains each field.

    `window` and `hop` are in seconds; without a hop, windows overlap by half. `speaker` is the name
    of an enrolled speaker to adapt to.
    """

    ckpt: str
    device: str = "auto"
    raw: bool = False
    precision: Precision = Precision.auto
    window: float | None = None
    hop: float | None = None
    vad: bool = False
    batch_size: int = 16
    speeds: tuple[float, ...] = (1.0,)
    speaker: str | None = None

    def __post_init__(self) -> None:
        require(self.hop is None or self.window is not None, "--hop", self.hop, "needs --window")
        require_speeds("--speed", self.speeds)
        _ = self.windows

    @property
    def windows(self) -> WindowConfig | None:
        """The windows; None without windows. Raises UserError for invalid lengths."""
        return WindowConfig.choose(self.window, self.hop)

    def load(self) -> "Predictor":
        """The predictor; raises UserError if the model cannot be loaded."""
        require_model("--ckpt", self.ckpt)
        from ser.inference.predictor import Predictor  # seconds of import
        from ser.inference.vad import load_detector

        if self.vad:
            load_detector()
        predictor = Predictor.from_checkpoint(
            self.ckpt, self.device, self.raw, self.precision, speeds=self.speeds
        )
        if self.speaker is not None:
            from ser.inference.enrolment import adapt_to

            adapt_to(predictor, self.speaker, self.ckpt)
        return predictor

    def predict(
        self, predictor: "Predictor", sources: Iterable[Source]
    ) -> Iterator[Prediction | Failure]:
        """The prediction of each recording, in the order given."""
        return predictor.stream(
            sources, sliding=self.windows, vad=self.vad, batch_size=self.batch_size
        )
