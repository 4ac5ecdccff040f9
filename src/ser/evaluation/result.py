"""The result of an evaluation: everything that a report shows."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ser.config.precision import Precision
from ser.config.train import TrainConfig
from ser.evaluation.adaptation import Adaptation
from ser.evaluation.data import WHOLE
from ser.evaluation.misclassified import Misclassification
from ser.evaluation.overlap import TrainTestOverlap
from ser.evaluation.robustness import Robustness
from ser.metrics.summary import (
    GroupMetrics,
    Predictions,
    SpeakerScores,
    summarize,
    summarize_by,
    summarize_speakers,
)
from ser.models.checkpoint import CheckpointMetadata
from ser.models.precision import PrecisionParity
from ser.preparation.manifest import Manifest


@dataclass(frozen=True)
class EvaluationResult:
    """The scores and predictions of a checkpoint on a part of its data, or on data new to it.

    `part` is train, val or test, or WHOLE for all utterances of data that are new to the model.
    `manifest` describes the evaluated data. `left_out` counts utterances by emotion that the model
    has no class for. `synthetic` says that the audio is generated. `val_uar` is the UAR of this
    checkpoint on the validation part; None if it was saved between two validations.
    `trained_steps` are the optimiser steps before it was saved. `precision` is what the network
    computed in, and `parity` compares bf16 with fp32 on validation utterances.
    Predictions are averages over `speeds`. A `foreign_model` was not trained by the run whose data
    it is evaluated on. An `ensemble` has these members. A `baseline` is no network, but the
    classifier of `ser baseline`, which `command` trains and evaluates. `adaptation` has the scores
    after adaptation to the speakers, if the model can be adapted.
    """

    checkpoint: Path
    part: str
    command: list[str]
    settings: TrainConfig
    metadata: CheckpointMetadata
    parameters: int
    manifest: Manifest
    predicted: Predictions
    overlap: TrainTestOverlap
    misclassified: list[Misclassification]
    synthetic: bool = False
    foreign_model: bool = False
    ensemble: tuple[str, ...] = ()
    baseline: bool = False
    val_uar: float | None = None
    trained_steps: int | None = None
    precision: str = Precision.fp32
    speeds: tuple[float, ...] = (1.0,)
    parity: PrecisionParity | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    robustness: Robustness | None = None
    adaptation: Adaptation | None = None

    @cached_property
    def overall(self) -> GroupMetrics:
        return summarize(self.predicted)

    @cached_property
    def corpora(self) -> dict[str, GroupMetrics]:
        return summarize_by(self.predicted, "corpus")

    @cached_property
    def genders(self) -> dict[str, GroupMetrics]:
        return summarize_by(self.predicted, "gender")

    @cached_property
    def speakers(self) -> dict[str, SpeakerScores]:
        return summarize_speakers(self.predicted)

    @property
    def named_part(self) -> str:
        """The part in words."""
        if self.part == WHOLE:
            return f"{', '.join(self.corpora)}, new to the model"
        return f"{'validation' if self.part == 'val' else self.part} part"

    def describe_overlap(self) -> str:
        """How much of the part was seen in training, in words."""
        if self.foreign_model:
            return "The training data of this model are not known: they may hold these speakers."
        return self.overlap.describe(self.part)

    def describe_precision(self) -> str:
        """The precision of this evaluation, and what `precision=auto` would use."""
        if self.parity is None:
            return f"{self.precision}; bf16 was not compared with fp32 at the end of training"
        automatic = "bf16 if the device computes in it" if self.parity.good else "fp32"
        return f"{self.precision}; auto: {automatic} ({self.parity})"

    def describe_left_out(self) -> str:
        """The number of utterances of each emotion that the model has no class for, or nothing."""
        if not self.left_out:
            return ""
        emotions = ", ".join(f"{name} {number:,}" for name, number in self.left_out.items())
        return f"Left out, because the model has no class for the emotion: {emotions}."
