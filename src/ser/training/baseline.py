"""A classic acoustic baseline: statistics of MFCC, pitch and energy, and a linear model or an SVM.

Classifier and regularisation are chosen by cross-validation over the speakers of the training part.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from ser.audio.recording import SAMPLE_RATE, Waveform, Waveforms
from ser.config.baseline import Classifier, FeatureSet
from ser.errors import optional_dependency
from ser.training.head import ABSENT, split_folds

log = logging.getLogger(__name__)
FRAME, HOP = 1024, 256  # samples: 64 and 16 ms
LOWEST, HIGHEST = 65.0, 500.0  # Hz, the range of the pitch of speech
VOICED = 30.0  # dB; frames further below the loudest one count as unvoiced
MFCCS = 20

Features = NDArray[np.float64]


@dataclass(frozen=True)
class AcousticCandidate:
    """A classifier with regularisation strength C."""

    kind: Classifier
    strength: float

    def __str__(self) -> str:
        return f"{self.kind} C={self.strength:g}"

    def create(self) -> Any:
        model = LogisticRegression(C=self.strength, max_iter=2000, class_weight="balanced")
        if self.kind == Classifier.svm:
            model = SVC(C=self.strength, class_weight="balanced")
        return make_pipeline(StandardScaler(), model)


CANDIDATES = (
    *(AcousticCandidate(Classifier.svm, strength) for strength in (1.0, 10.0)),
    *(AcousticCandidate(Classifier.logistic, strength) for strength in (0.01, 0.1)),
)


@dataclass(frozen=True)
class Baseline:
    """A fitted classifier; `score` is the cross-validated UAR of its settings."""

    model: Any
    candidate: AcousticCandidate
    score: float

    def logits(self, features: Features, classes: int) -> NDArray[np.float32]:
        """Scores (utterances, classes), lowest for classes without training utterances."""
        values = self.model.decision_function(features)
        if values.ndim == 1:  # scikit-learn has one score for two classes
            values = np.stack([-values, values], axis=1) / 2
        logits = np.full((len(features), classes), values.min(initial=0.0) + ABSENT)
        logits[:, self.model.classes_] = values
        return logits.astype(np.float32)


def fit(
    features: Features,
    labels: NDArray[np.int64],
    speakers: Sequence[str],
    *,
    kind: Classifier = Classifier.auto,
    seed: int = 0,
) -> Baseline:
    """The best candidate of a kind, fitted to features (utterances, size)."""
    folds = list(split_folds(labels, speakers, seed))

    def evaluate(candidate: AcousticCandidate) -> float:
        predicted = np.empty_like(labels)
        for train, test in folds:
            predicted[test] = (
                candidate.create().fit(features[train], labels[train]).predict(features[test])
            )
        never: Any = 0.0  # the stubs of scikit-learn allow only "warn"
        return float(recall_score(labels, predicted, average="macro", zero_division=never))

    candidates = [each for each in CANDIDATES if kind in (each.kind, Classifier.auto)]
    with threadpool_limits(1):  # several threads are slower on matrices of this size
        scores = {each: evaluate(each) for each in candidates}
    best = max(candidates, key=lambda each: scores[each])
    log.info("Chosen by cross-validation: %s, UAR %.3f", best, scores[best])
    return Baseline(best.create().fit(features, labels), best, scores[best])


def extract_all(waveforms: Waveforms, kind: FeatureSet, longest: int) -> Features:
    """Features (utterances, size) of the first `longest` samples of each waveform.

    Raises UserError without opensmile, if it is needed.
    """
    extract = egemaps() if kind == FeatureSet.egemaps else extract_classic

    def extract_row(row: int) -> Features:
        return extract(waveforms[row][:longest])

    run: Any = Parallel(n_jobs=-1, backend="threading")
    return np.stack(run(delayed(extract_row)(row) for row in range(len(waveforms))))


def extract_classic(waveform: Waveform) -> Features:
    """Statistics over time of MFCC, their differences, pitch, energy and spectral shape (size,)."""
    import librosa  # seconds of import

    waveform = np.pad(waveform, (0, max(0, 4 * FRAME - len(waveform))))
    spectrum = np.abs(librosa.stft(waveform, n_fft=FRAME, hop_length=HOP))
    mel = librosa.feature.melspectrogram(S=spectrum**2, sr=SAMPLE_RATE, n_mels=64)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=MFCCS)
    energy = librosa.amplitude_to_db(librosa.feature.rms(S=spectrum, frame_length=FRAME))
    shape = np.concatenate(
        [
            librosa.feature.spectral_centroid(S=spectrum, sr=SAMPLE_RATE),
            librosa.feature.spectral_rolloff(S=spectrum, sr=SAMPLE_RATE),
            librosa.feature.zero_crossing_rate(waveform, frame_length=FRAME, hop_length=HOP),
        ]
    )
    pitch = librosa.yin(
        waveform, fmin=LOWEST, fmax=HIGHEST, sr=SAMPLE_RATE, frame_length=FRAME, hop_length=HOP
    )
    voiced = energy[0] > energy.max() - VOICED
    tracks = [mfcc, np.diff(mfcc, axis=1), energy, np.diff(energy, axis=1), shape]
    tracks.append(np.log(pitch[None, voiced[: len(pitch)]]))
    return np.concatenate([describe(track) for track in tracks] + [[voiced.mean()]])


def describe(track: Features) -> Features:
    """Mean, standard deviation and the 10%, 50% and 90% quantiles of each row over time."""
    quantiles = np.quantile(track, [0.1, 0.5, 0.9], axis=1)
    return np.concatenate([track.mean(axis=1), track.std(axis=1), quantiles.ravel()])


def egemaps() -> Callable[[Waveform], Features]:
    """The extractor of the 88 eGeMAPS functionals (Eyben et al., 2016) by openSMILE."""
    with optional_dependency("opensmile"):
        import opensmile  # pyright: ignore[reportMissingImports]
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02)
    return lambda waveform: smile.process_signal(waveform, SAMPLE_RATE).to_numpy()[0]
