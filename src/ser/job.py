"""How recordings are to be judged: plain values, which can be sent to other processes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ser.prediction import Failure, Prediction
from ser.setting import require
from ser.windows import Sliding, Source

if TYPE_CHECKING:
    from ser.predict import Predictor


class Precision(StrEnum):
    """What the network computes in: bf16 is mixed with 32 bits, as in training on a GPU."""

    full = "32"
    mixed = "bf16"


@dataclass(frozen=True)
class Job:
    """A model and what it is asked for; see `ser.predict.Predictor` for the meaning of each.

    `window` and `hop` are in seconds; without a hop, windows overlap by half.
    """

    ckpt: str
    device: str = "auto"
    raw: bool = False
    precision: Precision = Precision.full
    window: float | None = None
    hop: float | None = None
    vad: bool = False
    batch_size: int = 16

    def __post_init__(self) -> None:
        require(self.hop is None or self.window is not None, "--hop", self.hop, "needs --window")
        _ = self.sliding

    @property
    def sliding(self) -> Sliding | None:
        """The windows; None where recordings are judged whole. Raises ValueError for odd ones."""
        if self.window is None:
            return None
        return Sliding(self.window, self.window / 2 if self.hop is None else self.hop)

    def load(self) -> "Predictor":
        """The predictor; raises ValueError or OSError, in one sentence, where there is none."""
        from ser.predict import Predictor  # seconds of import
        from ser.speech import load_detector

        if self.vad:
            load_detector()
        return Predictor.from_checkpoint(self.ckpt, self.device, self.raw, self.precision)

    def judge(
        self, predictor: "Predictor", sources: Iterable[Source]
    ) -> Iterator[Prediction | Failure]:
        """What the predictor says of each recording, in the order given."""
        return predictor.stream(
            sources, sliding=self.sliding, vad=self.vad, batch_size=self.batch_size
        )
