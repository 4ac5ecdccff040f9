"""What an evaluation has found out: everything that a report tells."""

from dataclasses import dataclass, field
from pathlib import Path

from ser.config import TrainConfig
from ser.exposure import Exposure
from ser.judgement import Judgement, Predicted, SpeakerScores
from ser.manifest import Manifest
from ser.mistakes import Mistake
from ser.model import Blueprint
from ser.robustness import Robustness


@dataclass(frozen=True)
class Findings:
    """Of a checkpoint on a part of its data, or on a corpus new to it.

    `part` is train, val or test, or `whole` for all utterances of corpora that were not in the
    training; `manifest` is of the judged data. `left_out` counts the utterances, by emotion, of
    classes that the model does not know; `synthetic` says that nobody is speaking; `val_uar` is the
    UAR of this very checkpoint on the validation part, None where it was saved between two.
    """

    checkpoint: Path
    part: str
    command: list[str]
    settings: TrainConfig
    blueprint: Blueprint
    parameters: int
    manifest: Manifest
    predicted: Predicted
    overall: Judgement
    corpora: dict[str, Judgement]
    genders: dict[str, Judgement]
    speakers: dict[str, SpeakerScores]
    exposure: Exposure
    mistakes: list[Mistake]
    synthetic: bool = False
    val_uar: float | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    robustness: Robustness | None = None

    @property
    def named_part(self) -> str:
        if self.part == "whole":
            return f"{', '.join(self.corpora)}, new to the model"
        return f"{'validation' if self.part == 'val' else self.part} part"

    def describe_left_out(self) -> str:
        """One sentence on the classes that model and data do not share, or nothing."""
        if not self.left_out:
            return ""
        emotions = ", ".join(f"{name} {number:,}" for name, number in self.left_out.items())
        return f"Left out, because the model does not know the emotion: {emotions}."
