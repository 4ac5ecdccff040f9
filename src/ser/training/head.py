"""Fit a linear head on pooled features with scikit-learn, instead of training it by gradients.

Every choice (kind of classifier, regularisation) is made by cross-validation over the speakers or
corpora of the training part, so validation and test part choose nothing.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from ser.config.model import HeadFit
from ser.config.train import TrainConfig
from ser.models.network import EmotionNetwork
from ser.models.standardization import Standardization
from ser.training.losses import compute_class_weights

log = logging.getLogger(__name__)
FOLDS = 5
ABSENT = -30.0  # added to the lowest logit, for a class without training utterances

Features = NDArray[np.floating]


@dataclass(frozen=True)
class Candidate:
    """A linear classifier to try: logistic regression with inverse strength C, or shrinkage LDA.

    LDA estimates its shrinkage from the data (Ledoit and Wolf, 2004), so it has no setting. The
    class `weights` (classes,) multiply the loss of logistic regression and the priors of LDA.
    """

    kind: HeadFit
    strength: float | None = None
    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return str(self.kind) if self.strength is None else f"{self.kind} C={self.strength:g}"

    def fit(self, features: Features, labels: NDArray[np.int64], blocks: int = 1) -> "LinearHead":
        """The head fitted to standardised features (utterances, size).

        Features of several layers are `blocks` of equal size. Each block has a classifier of its
        own, and the logits are averaged, which is one linear head on all of them.
        """
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        scaled = (features - mean) / scale
        models = [
            self.create(labels).fit(block, labels) for block in np.split(scaled, blocks, axis=1)
        ]
        weight = np.hstack([np.asarray(model.coef_) for model in models]) / blocks
        bias: Any = sum(np.asarray(model.intercept_) for model in models) / blocks
        if len(weight) == 1:  # scikit-learn keeps one row for two classes
            weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return LinearHead(mean, scale, weight, bias, np.asarray(models[0].classes_), self)

    def fit_copies(
        self, features: Features, labels: NDArray[np.int64], blocks: int = 1
    ) -> "LinearHead":
        """The head fitted to features (copies, utterances, size); `labels` are (utterances,)."""
        together = features.reshape(-1, features.shape[-1])
        return self.fit(together, np.tile(labels, len(features)), blocks)

    def create(self, labels: NDArray[np.int64]) -> Any:
        """The classifier of scikit-learn for these labels (utterances,)."""
        weights = None if self.weights is None else dict(enumerate(self.weights))
        if self.kind == HeadFit.logistic:
            return LogisticRegression(C=self.strength or 1.0, max_iter=2000, class_weight=weights)
        priors = None
        if weights is not None:
            classes, counts = np.unique(labels, return_counts=True)
            weighted = counts * np.array([weights[each] for each in classes])
            priors = weighted / weighted.sum()
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)


@dataclass(frozen=True)
class LinearHead:
    """Standardisation (size,), weights (classes, size) and biases (classes,) of known classes."""

    mean: Features
    scale: Features
    weight: Features
    bias: Features
    classes: NDArray[np.int64]
    candidate: Candidate

    def logits(self, features: Features) -> Features:
        """Logits (utterances, classes) of features (copies, utterances, size), averaged."""
        copies = (features - self.mean) / self.scale @ self.weight.T + self.bias
        return copies.mean(axis=0)

    def predict(self, features: Features) -> NDArray[np.int64]:
        """Labels (utterances,) of features (copies, utterances, size)."""
        return self.classes[self.logits(features).argmax(axis=1)]

    def install(self, network: EmotionNetwork, standardization: Standardization) -> None:
        """Make this the head of a network without projector.

        The head was fitted to features that this standardisation scales, which becomes that of the
        network.
        """
        scaled = self.weight / self.scale
        weight = torch.zeros_like(network.classifier.weight)
        bias = torch.full_like(network.classifier.bias, float(self.bias.min()) + ABSENT)
        rows = torch.from_numpy(self.classes)
        weight[rows] = torch.from_numpy(scaled).to(weight)
        bias[rows] = torch.from_numpy(self.bias - scaled @ self.mean).to(bias)
        with torch.no_grad():
            network.classifier.weight.copy_(weight)
            network.classifier.bias.copy_(bias)
        network.scaler.standardization = standardization  # pyright: ignore


@dataclass(frozen=True)
class Choice:
    """The candidate with the best cross-validated UAR, and the UAR of every candidate.

    `predictions` (utterances,) are the cross-validated labels of the best one.
    """

    best: Candidate
    scores: dict[Candidate, float]
    predictions: NDArray[np.int64]

    @property
    def score(self) -> float:
        return self.scores[self.best]


def list_candidates(config: TrainConfig, labels: NDArray[np.int64]) -> list[Candidate]:
    """The candidates of `model.fit` for the labels (utterances,) of the training part.

    `auto` compares logistic regression with LDA.
    """
    model, names = config.model, config.data.label_space
    found = compute_class_weights(model, names, [names[label] for label in labels])
    weights = None if found is None else tuple(found)
    logistic = [Candidate(HeadFit.logistic, each, weights) for each in model.fit_strengths]
    lda = [Candidate(HeadFit.lda, weights=weights)]
    return {HeadFit.logistic: logistic, HeadFit.lda: lda}.get(model.fit, [*logistic, *lda])


def cross_validate(
    features: Features,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    candidates: Sequence[Candidate],
    seed: int = 0,
    blocks: int = 1,
) -> dict[Candidate, Features]:
    """The logits (utterances, classes) of each candidate, by cross-validation.

    Folds are over groups of utterances: speakers or corpora. Features are (copies, utterances,
    size): a head is fitted to all copies, and its logits are averaged over them. A logit is -inf
    for a class that the fitted part of a fold lacks.
    """
    folds = list(split_folds(labels, groups, seed))

    def predict(candidate: Candidate) -> Features:
        logits = np.full((len(labels), labels.max() + 1), -np.inf)
        for train, test in folds:
            head = candidate.fit_copies(features[:, train], labels[train], blocks)
            logits[np.ix_(test, head.classes)] = head.logits(features[:, test])
        return logits

    run: Any = Parallel(n_jobs=-1, backend="threading")
    with threadpool_limits(1):  # BLAS with threads of its own in each of ours is five times as slow
        results = run(delayed(predict)(candidate) for candidate in candidates)
    return dict(zip(candidates, results, strict=True))


def select(logits: dict[Candidate, Features], labels: NDArray[np.int64]) -> Choice:
    """The candidate with the best UAR by cross-validated logits (utterances, classes)."""
    never: Any = 0.0  # the stubs of scikit-learn allow only "warn"
    predicted = {candidate: values.argmax(axis=1) for candidate, values in logits.items()}
    scores = {
        candidate: float(recall_score(labels, values, average="macro", zero_division=never))
        for candidate, values in predicted.items()
    }
    best = max(scores, key=lambda each: scores[each])
    return Choice(best, scores, predicted[best])


def split_folds(
    labels: NDArray[np.int64], groups: Sequence[str], seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds over groups; over utterances if some groups are unknown or there is only one."""
    known = np.asarray(groups, dtype=str)
    count = len(set(known))
    places = np.zeros(len(labels))
    if "" in known or count < 2:
        log.warning(
            "The speakers of the training part are unknown, or there is only one: cross-validation"
            " is over utterances, so its UAR is too high for new speakers"
        )
        folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
        yield from StratifiedKFold(max(2, folds), shuffle=True, random_state=seed).split(
            places, labels
        )
        return
    kfold = StratifiedGroupKFold(min(FOLDS, count), shuffle=True, random_state=seed)
    yield from kfold.split(places, labels, known)
