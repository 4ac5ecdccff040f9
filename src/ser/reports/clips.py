"""Utterances in a page: audio that it can play, and the utterances behind a confusion matrix."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.audio.spectrogram import log_mel
from ser.evaluation.misclassified import Misclassification
from ser.evaluation.result import EvaluationResult
from ser.figures.spectrogram import draw_spectrogram
from ser.metrics.summary import Predictions
from ser.reports.html import picture
from ser.reports.tables import Table, fraction
from ser.reports.training_facts import is_restricted

MOST = 6  # utterances of a cell of the confusion matrix


def to_data_uri(waveform: Waveform) -> str:
    """A waveform (time,) at 16 kHz as a FLAC file in a data URI, which every browser plays."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()


def find_restricted(result: EvaluationResult) -> dict[str, str]:
    """The corpora whose terms do not allow audio in a page that may be passed on: their terms."""
    if result.synthetic:
        return {}
    terms = {str(row.corpus): str(row.licence) for row in result.manifest.corpora.itertuples()}
    return {name: licence for name, licence in terms.items() if is_restricted(licence)}


def show_error(error: Misclassification) -> dict[str, Any]:
    """An error as the template shows it, with audio and a spectrogram."""
    drawn = draw_spectrogram(log_mel(error.waveform), len(error.waveform) / SAMPLE_RATE)
    return {
        "id": error.id,
        "true": error.true,
        "predicted": error.predicted,
        "confidence": error.confidence,
        "audio": to_data_uri(error.waveform),
        "picture": picture(drawn, f"log-mel spectrogram of {error.id}"),
    }


def tabulate_errors(errors: Sequence[Misclassification]) -> Table:
    """Errors without audio."""
    rows = [[e.id, e.true, e.predicted, fraction(e.confidence)] for e in errors]
    return Table(["utterance", "label", "prediction", "confidence"], rows, alignment="lllr")


def list_cells(predicted: Predictions) -> dict[str, list[list[str]]]:
    """The most confident utterances of each cell of the confusion matrix.

    The keys are `row-column`; an utterance is its id, its speaker and its confidence.
    """
    confidence, ids = predicted.probabilities.max(axis=1), predicted.utterances["id"].to_numpy()
    speakers = predicted.utterances["speaker"].to_numpy()
    cells = predicted.labels * len(predicted.names) + predicted.predictions
    found: dict[str, list[list[str]]] = {}
    for row in np.argsort(-confidence, kind="stable"):
        key = "{}-{}".format(*divmod(int(cells[row]), len(predicted.names)))
        shown = found.setdefault(key, [])
        if len(shown) < MOST:
            shown.append([str(ids[row]), str(speakers[row]), fraction(confidence[row])])
    return found
