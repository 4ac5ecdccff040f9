"""Predictor: recordings to probabilities, without Hydra and without Lightning."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ser.audio.recording import SAMPLE_RATE, Source, Waveform
from ser.audio.resample import change_speed
from ser.config.precision import Precision, parse_precision
from ser.errors import UserError
from ser.inference.embeddings import embed
from ser.inference.load import TrainedModel, load_trained
from ser.inference.pending import Compute, PendingRecording, collect, open_ahead
from ser.inference.prediction import AdaptedTo, Failure, Prediction, abstains
from ser.inference.runner import NetworkRunner, choose_device
from ser.inference.settings import Pool, WindowConfig
from ser.inference.vad import has_speech, load_detector
from ser.inference.windows import not_silent
from ser.models.build import check_duration
from ser.models.inputs import normalize, pad
from ser.models.network import EmotionNetwork
from ser.models.pooling import FeatureScaler
from ser.models.standardization import Standardization, Statistics

# Larger batches are slower by a third on a CPU: the allocator returns the memory of larger tensors
# to the system after each use.
CPU_SAMPLES = 4 * SAMPLE_RATE


Result = TypeVar("Result")


class Predictor:
    """A trained model that predicts the emotion of recordings.

    `labels` are in the order of the logits. The logits are divided by `temperature`, which is 1.0
    for uncalibrated probabilities. Recordings longer than `max_seconds` are predicted in windows of
    that length. `device` is the device of the network, and `precision` is auto, fp32, bf16 or fp16
    (see `ser.inference.runner`). The logits of a recording are the mean over `speeds`; the time
    grows with their number. `synthetic`: the model was trained on generated audio.
    """

    def __init__(
        self,
        model: TrainedModel,
        device: str = "auto",
        *,
        raw: bool = False,
        precision: str = Precision.fp32,
        speeds: Sequence[float] = (1.0,),
    ) -> None:
        model = model.uncalibrated() if raw else model
        self.device = choose_device(device)
        self.name, self.labels, self.max_seconds = model.name, model.labels, model.max_seconds
        self.normalizes, self.synthetic = model.normalizes, model.synthetic
        self.temperature = 1.0 if model.temperature is None else model.temperature
        self.threshold = model.threshold
        self.speeds = tuple(speeds)
        self.runner = NetworkRunner(
            model.network,
            self.device,
            parse_precision(precision, "precision"),
            model.parity,
            self.temperature,
        )
        self.adapted_to: AdaptedTo | None = None
        # Of an ensemble, or of a model whose labels are mapped, those inside.
        self.networks = [
            each for each in self.network.modules() if isinstance(each, EmotionNetwork)
        ]

    @property
    def network(self) -> EmotionNetwork:
        return self.runner.network

    @property
    def precision(self) -> Precision:
        """The precision in which the network computes now."""
        return self.runner.precision

    @classmethod
    def from_checkpoint(
        cls,
        source: str | Path,
        device: str = "auto",
        raw: bool = False,
        precision: str = Precision.fp32,
        speeds: Sequence[float] = (1.0,),
    ) -> "Predictor":
        """The predictor of a run folder, a .ckpt, an exported Hugging Face folder, or a hub name.

        `device` is auto (an accelerator if there is one), cpu, cuda, cuda:1 or mps. Probabilities
        are calibrated if a temperature was fitted, unless `raw`. `precision` is fp32, bf16, fp16
        or auto: bf16 where it changes almost nothing, as in the commands. Predictions are
        averages over the playback `speeds`. Raises UserError if the source is not such a model.
        Pickled code is never run.
        """
        return cls(load_trained(source), device, raw=raw, precision=precision, speeds=speeds)

    def abstains(self, confidence: float) -> bool:
        """Whether the highest probability of a recording is below the threshold of the model."""
        return abstains(self.threshold, confidence)

    def __call__(
        self,
        sources: Sequence[Source],
        *,
        sliding: WindowConfig | None = None,
        vad: bool = False,
        batch_size: int = 16,
    ) -> list[Prediction]:
        """The prediction of each recording, in the order given; see `stream` for the arguments.

        Raises UserError at the first recording that cannot be used.
        """
        refuse_one(sources)
        results = self.stream(sources, sliding=sliding, vad=vad, batch_size=batch_size)
        return list(refuse_failures(results, "predicted"))

    def stream(
        self,
        sources: Iterable[Source],
        *,
        sliding: WindowConfig | None = None,
        vad: bool = False,
        batch_size: int = 16,
    ) -> Iterator[Prediction | Failure]:
        """Yield the prediction of each recording as soon as it is complete, in the order given.

        A source is a path, an open binary file, or a pair of samples (time,) or (time, channels)
        and their rate in Hz. A recording that cannot be used is a `Failure`. Without `sliding`, a
        recording is predicted as a whole; a recording longer than `max_seconds` is predicted in
        windows of that length. Silent windows are skipped; with `vad` all windows without speech
        are (UserError without silero-vad). Windows of similar length are batched. The memory does
        not grow with the number or the length of the recordings.
        """
        options = {"sliding": sliding, "vad": vad, "batch_size": batch_size}
        yield from map(self.conclude, self.collect(sources, self.probabilities, **options))

    def collect(
        self,
        sources: Iterable[Source],
        compute: Compute,
        *,
        sliding: WindowConfig | None = None,
        vad: bool = False,
        batch_size: int = 16,
    ) -> Iterator[PendingRecording]:
        """Yield each recording with what `compute` gives for its windows, as `stream` does.

        `compute` is `probabilities` or `features`.
        """
        sliding = self.check_windows(sliding)
        if vad:
            load_detector()  # raises UserError once, not for each recording
        recordings = open_ahead(sources, sliding)
        yield from collect(recordings, compute, has_speech if vad else not_silent, batch_size)

    def conclude(self, recording: PendingRecording) -> Prediction | Failure:
        """The result of a recording whose rows are probabilities."""
        return recording.result(
            self.labels, recording.rows, threshold=self.threshold, adapted_to=self.adapted_to
        )

    def check_windows(self, sliding: WindowConfig | None) -> WindowConfig:
        """The windows, by default the longest ones. Raises UserError if they are too long."""
        if sliding is None:
            return WindowConfig(self.whole_seconds, self.whole_seconds)
        for network in self.networks:
            seconds = sliding.window / self.slowest
            check_duration(network.family, network.config, seconds, "window")
        return sliding

    @property
    def slowest(self) -> float:
        """The lowest speed, at most 1: at a speed below 1 the network sees more than the window."""
        return min(1.0, *self.speeds)

    @property
    def whole_seconds(self) -> float:
        """Seconds of a recording that are predicted at once without `sliding`."""
        limits = [each.family.max_seconds(each.config) or math.inf for each in self.networks]
        return min(self.max_seconds, self.slowest * min(limits))

    def logits(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        """Logits (batch, classes), not yet divided by the temperature, of 16 kHz waveforms (time,).

        They are the mean over `speeds`. Each waveform is normalised on its own, as in training; a
        result does not depend on the rest of the batch.
        """
        copies = [[change_speed(each, speed) for each in waveforms] for speed in self.speeds]
        return np.mean([self._compute(each, self.runner) for each in copies], axis=0)

    def features(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        """Pooled features (batch, size) of 16 kHz waveforms (time,), from which the head predicts.

        They are those at the original speed; `classify` gives their logits.
        """
        return self._compute(waveforms, self.runner.embed)

    def classify(
        self, features: NDArray[np.floating], adapted: Standardization | None = None
    ) -> NDArray[np.float32]:
        """Logits (batch, classes) of pooled features (batch, size).

        With `adapted` they are standardised in that way instead of the model's own.
        """
        if adapted is not None:
            own = self.standardization
            features = adapted.apply(features) * own.scale + own.mean
        values = torch.from_numpy(features.astype(np.float32)).to(self.device)
        with torch.inference_mode():
            return self.network.classify_features(values).float().cpu().numpy()

    @property
    def adaptable(self) -> bool:
        """Whether the model stores how its training speakers differ."""
        scaler = getattr(self.network, "scaler", None)  # ensembles have none
        return isinstance(scaler, FeatureScaler) and scaler.standardization.adapts

    @property
    def standardization(self) -> Standardization:
        """How the model standardises pooled features; raises UserError if it cannot be adapted."""
        if not self.adaptable:
            raise UserError(
                f"{self.name} cannot be adapted, because it does not store how its training"
                " speakers differ: train with model=linear, which also sets model.standardize, on"
                " data with the names of at least two speakers"
            )
        return self.network.scaler.standardization  # pyright: ignore

    def adapt(self, statistics: Statistics, speaker: str = "") -> None:
        """Adapt all further predictions to the speaker of these statistics of pooled features.

        Raises UserError if the model cannot be adapted, or is adapted already.
        """
        if self.adapted_to is not None:
            raise UserError(f"the model is adapted to {self.adapted_to.speaker} already")
        adapted = self.standardization.adapt(statistics)
        self.adapted_to = AdaptedTo(speaker, statistics.count)
        for network in self.runner.all_networks():
            network.scaler = copy.deepcopy(network.scaler)  # other predictors may share it
            network.scaler.standardization = adapted

    def at_once(self, waveforms: Sequence[Waveform]) -> int:
        """The best number of these waveforms (time,) for one forward pass."""
        if self.device.type != "cpu":
            return len(waveforms)
        return max(1, CPU_SAMPLES // max(map(len, waveforms)))

    def _compute(
        self, waveforms: Sequence[Waveform], run: Callable[..., NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """The output (batch, ...) of `run`, which takes values and a mask (batch, time)."""
        together = self.at_once(waveforms)
        parts = [waveforms[i : i + together] for i in range(0, len(waveforms), together)]
        return np.concatenate([self._compute_part(part, run) for part in parts])

    def _compute_part(
        self, waveforms: Sequence[Waveform], run: Callable[..., NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        values, mask = self.pad(waveforms)
        # Without a mask the result is the same and faster if nothing is padded.
        padding = None if bool(mask.all()) else mask.to(self.device)
        return run(values.to(self.device), padding)

    def pad(self, waveforms: Sequence[Waveform]) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and mask (batch, time) of waveforms, normalised if the model needs it."""
        return pad([normalize(each) for each in waveforms] if self.normalizes else list(waveforms))

    def embed(
        self,
        sources: Sequence[Source],
        *,
        layer: int | None = None,
        pool: Literal["mean", "none"] = "mean",
        batch_size: int = 16,
    ) -> list[NDArray[np.float32]]:
        """The embedding of each recording: hidden states of a layer, by default of the last one.

        Each is (size,), the mean over the frames, or (frames, size) if `pool` is none. Raises
        UserError for an unknown layer, and at the first recording that cannot be used.
        """
        refuse_one(sources)
        results = embed(self, sources, layer=layer, pool=Pool(pool), batch_size=batch_size)
        return [each.values for each in refuse_failures(results, "embedded")]

    def probabilities(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        """Probabilities (batch, classes) of 16 kHz waveforms (time,)."""
        scaled = torch.from_numpy(self.logits(waveforms)) / self.temperature
        return scaled.softmax(dim=1).numpy()


def refuse_one(sources: Sequence[Source]) -> None:
    """Raise UserError for the name of one recording instead of a list."""
    if isinstance(sources, str | Path):
        raise UserError(f"give a list of recordings, not one: [{str(sources)!r}]")


def refuse_failures(results: Iterable[Result | Failure], done: str) -> Iterator[Result]:
    """The results; raises UserError for the first recording that could not be `done`."""
    for result in results:
        if isinstance(result, Failure):
            raise UserError(f"{result.path or 'the recording'} cannot be {done}: {result.error}")
        yield result
