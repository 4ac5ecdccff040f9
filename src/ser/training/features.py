"""Pooled features of a part of the data, and heads that are set up from them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ser.config.model import FitFolds, Standardize
from ser.config.split import SplitKind
from ser.config.train import TrainConfig
from ser.data.datamodule import EmotionDataModule
from ser.data.dataset import Batch
from ser.metrics.scores import to_indices
from ser.models.hidden_states import CacheKey, Stored, StoredStates
from ser.models.network import EmotionNetwork
from ser.models.standardization import Standardization
from ser.models.state_cache import StateReader
from ser.training.head import LinearHead, cross_validate, list_candidates, select

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartFeatures:
    """Pooled features (copies, utterances, size) of a part, with its labels and groups.

    The copies are the utterances at different speeds.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    speakers: list[str]
    corpora: list[str]

    @classmethod
    def of(
        cls, values: NDArray[np.float32], utterances: pd.DataFrame, labels: Sequence[str]
    ) -> "PartFeatures":
        """The features of utterances, which are rows of a manifest."""
        return cls(
            values,
            to_indices(utterances["emotion"], labels, "labels"),
            utterances["speaker"].tolist(),
            utterances["corpus"].tolist(),
        )

    def fold_groups(self, config: TrainConfig) -> list[str]:
        """The groups (utterances,) that cross-validation leaves out: speakers or corpora.

        By default corpora if the test part is a corpus of its own, because what is best for new
        speakers of known corpora is not best for a new corpus. One corpus cannot be left out.
        """
        by_corpus = config.model.fit_folds == FitFolds.corpus or (
            config.model.fit_folds == FitFolds.auto and config.split.kind == SplitKind.corpus
        )
        return self.corpora if by_corpus and len(set(self.corpora)) > 1 else self.speakers

    def groups(self, standardize: Standardize) -> list[str]:
        """The groups (utterances,) whose statistics are compared: corpora or speakers."""
        return self.corpora if standardize == Standardize.corpus else self.speakers


def collect(
    data: EmotionDataModule, network: EmotionNetwork, part: str, speeds: Sequence[float] = (1.0,)
) -> PartFeatures:
    """The pooled features of a part, from the cache of hidden states if it is in use."""
    values = np.stack([collect_at(data, network, part, speed) for speed in speeds])
    return PartFeatures.of(values, data.manifest.part(part), data.config.label_space)


def collect_at(
    data: EmotionDataModule, network: EmotionNetwork, part: str, speed: float
) -> NDArray[np.float32]:
    """The pooled features (utterances, size) of a part at one speed."""
    contents = data.manifest.part(part)["content"].tolist()
    stored = data.states
    if stored is None or stored.key.stored != Stored.features:
        return compute(data.loader(part, speed=speed), network, len(contents))
    with evaluating(network):
        states = data.store_states(network, replace(stored.key, speed=speed), [part])
    return np.stack([states.read(content).states[0] for content in contents]).astype(np.float32)


def compute(
    loader: DataLoader[Batch], network: EmotionNetwork, utterances: int
) -> NDArray[np.float32]:
    """The pooled features (utterances, size) of batches that together hold all utterances."""
    values = np.empty((utterances, network.classifier.in_features), np.float32)
    with evaluating(network), torch.inference_mode():
        for batch in loader:
            inputs = batch["input_values"].to(network.device)
            mask = batch["attention_mask"].to(network.device)
            values[batch["rows"]] = network.embed_utterances(inputs, mask).float().cpu().numpy()
    return values


@contextmanager
def evaluating(network: EmotionNetwork) -> Iterator[None]:
    """Put a network in evaluation mode, and give each module its own mode back at the end."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def prepare_head(network: EmotionNetwork, data: EmotionDataModule, config: TrainConfig) -> None:
    """Set the standardisation of the head from the training part, and fit the head if asked to.

    With `model.standardize=speaker` or `corpus` the head learns from features that are standardised
    within each group of the training part. Statistics are those at the original speed.
    """
    model = config.model
    train = collect(data, network, "train", config.data.speeds)
    groups = train.groups(model.standardize)
    scaled, standardization = standardize_copies(train.values, groups, config)
    if model.fits:
        fit_head(network, train, scaled, config).install(network, standardization)
        return
    network.scaler.standardization = standardization  # pyright: ignore
    if model.standardizes_by_group:
        values = scaled[0] * standardization.scale + standardization.mean
        contents = data.manifest.part("train")["content"].tolist()
        assert data.states is not None, "the config requires stored features"
        data.states = AdaptedFeatures(data.states, dict(zip(contents, values, strict=True)))


def standardize_copies(
    copies: NDArray[np.floating], groups: list[str], config: TrainConfig
) -> tuple[NDArray[np.floating], Standardization]:
    """The training part (copies, utterances, size), standardised, and how.

    The statistics are those of the copy at the original speed and of its groups (utterances,).
    """
    speeds, model = config.data.speeds, config.model
    original = copies[speeds.index(1.0) if 1.0 in speeds else 0]
    standardization = Standardization.fit(original, groups)
    if not model.standardizes_by_group:
        return np.stack([standardization.apply(copy) for copy in copies]), standardization
    if not standardization.adapts:
        log.warning("model.standardize=%s: the training part has one group", model.standardize)
    run = standardization.apply_by_group
    return np.stack([run(copy, groups, original) for copy in copies]), standardization


def fit_head(
    network: EmotionNetwork,
    train: PartFeatures,
    scaled: NDArray[np.floating],
    config: TrainConfig,
) -> LinearHead:
    """The head that cross-validation chooses, fitted to scaled (copies, utterances, size)."""
    candidates = list_candidates(config, train.labels)
    blocks = max(1, len(network.joined))
    logits = cross_validate(
        scaled, train.labels, train.fold_groups(config), candidates, config.seed, blocks
    )
    choice = select(logits, train.labels)
    log.info("Fitted %s: cross-validated UAR %.3f", choice.best, choice.score)
    return choice.best.fit_copies(scaled, train.labels, blocks)


class AdaptedFeatures:
    """Stored features by content hash; those of the training part are adapted to their group."""

    def __init__(self, states: StateReader, values: dict[str, NDArray[np.floating]]) -> None:
        self.states = states
        self.values = {content: each.astype(np.float32) for content, each in values.items()}

    @property
    def key(self) -> CacheKey:
        return self.states.key

    def read(self, content: str) -> StoredStates:
        """The features (1, size) of the utterance with this content hash."""
        if content in self.values:
            return StoredStates(self.values[content][None], 1)
        return self.states.read(content)
