"""Adapt predictions to speakers by unlabelled recordings of them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from ser.audio.recording import Source
from ser.errors import UserError, amount
from ser.inference.clip_warnings import find_warnings
from ser.inference.pending import NOT_FINITE, PendingRecording, Row
from ser.inference.prediction import AdaptedTo, Failure, Prediction
from ser.inference.predictor import Predictor
from ser.models.standardization import Standardization, Statistics
from ser.system.progress import track
from ser.system.terminal import say


def compute_features(
    predictor: Predictor, sources: Collection[Source], **options: Any
) -> list[PendingRecording]:
    """The recordings with the features (size,) of their windows; a terminal shows the progress.

    The features stay in memory: a few kilobytes per window. `options` are those of
    `Predictor.stream`.
    """
    computed = predictor.collect(sources, predictor.features, **options)
    return list(track(computed, "Computing features", len(sources)))


def predict_adapted(
    predictor: Predictor,
    sources: Collection[Source],
    speakers: Sequence[str | None],
    **options: Any,
) -> Iterator[Prediction | Failure]:
    """The predictions for all recordings, each adapted to all recordings of its speaker.

    Without a speaker (None) a recording is predicted without adaptation. The features of all
    recordings are computed before this returns. `options` are those of `Predictor.stream`. Raises
    UserError if the model cannot be adapted.
    """
    common = predictor.standardization
    recordings = compute_features(predictor, sources, **options)
    rows: dict[str, list[Row]] = defaultdict(list)
    for recording, speaker in zip(recordings, speakers, strict=True):
        if speaker is not None and not recording.error:
            rows[speaker] += recording.separate_rows
    known = {speaker: Statistics.of(np.stack(own)) for speaker, own in rows.items()}
    adapted = {speaker: common.adapt(statistics) for speaker, statistics in known.items()}
    report(predictor, known, sum(speaker is None for speaker in speakers))

    def predict(recording: PendingRecording, speaker: str | None) -> Prediction | Failure:
        if speaker is None or recording.error:
            return predict_from_features(predictor, recording)
        adapted_to = AdaptedTo(speaker, known[speaker].count)
        return predict_from_features(predictor, recording, adapted[speaker], adapted_to)

    return map(predict, recordings, speakers)


def predict_from_features(
    predictor: Predictor,
    recording: PendingRecording,
    adapted: Standardization | None = None,
    adapted_to: AdaptedTo | None = None,
) -> Prediction | Failure:
    """The result of a recording whose rows are features."""
    probabilities = []
    if not recording.error:
        logits = predictor.classify(np.stack(recording.rows), adapted)
        probabilities = softmax(logits / predictor.temperature, axis=1)
        if not np.isfinite(probabilities).all():
            recording.error = NOT_FINITE
    return recording.result(
        predictor.labels, probabilities, threshold=predictor.threshold, adapted_to=adapted_to
    )


def measure_speaker(
    predictor: Predictor, sources: Collection[Source], batch_size: int = 16
) -> Statistics:
    """The statistics of the windows of recordings of one speaker, without overlapping ones.

    Raises UserError if a recording cannot be used, or if there is none.
    """
    recordings = compute_features(predictor, sources, batch_size=batch_size)
    for each in recordings:
        if each.error:
            raise UserError(f"{each.path or 'the recording'} cannot be used: {each.error}")
    if not recordings:
        raise UserError("no recording found")
    return Statistics.of(np.stack([row for each in recordings for row in each.separate_rows]))


def report(predictor: Predictor, known: Mapping[str, Statistics], unknown: int) -> None:
    """Print to standard error what predictions are adapted to, and what to be careful about."""
    for name, statistics in known.items():
        clips = amount(statistics.count, "clip")
        say(f"Adapted to {name or 'one speaker'}, {clips}", error=True)
        for warning in find_warnings(predictor.standardization, statistics):
            say(f"Warning: {name or 'one speaker'}: {warning}", error=True)
    if unknown:
        say(f"Not adapted, because the speaker is unknown: {unknown:,}", error=True)
