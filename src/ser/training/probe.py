"""Linear probes of all layers of a frozen backbone, to choose the layer to train on.

One pass over the clips caches the pooled states of all layers. The layer and its regularisation
are chosen by cross-validation inside the training part, over speakers or corpora (`fit_folds`).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from lightning import seed_everything
from numpy.typing import NDArray

from ser.audio.cache import AudioCache
from ser.config.model import PROBED, SEARCHED, HeadFit, Mode, Standardize
from ser.config.plain import key_of
from ser.config.train import TrainConfig
from ser.models.hidden_states import Stored
from ser.models.state_cache import HiddenStateCache
from ser.preparation.manifest import Manifest
from ser.system.progress import progress_bar
from ser.training.features import PartFeatures, standardize_copies
from ser.training.head import (
    Candidate,
    Choice,
    Features,
    cross_validate,
    list_candidates,
    select,
)
from ser.training.train import build
from ser.training.trainer import build_trainer


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class LayerProbe:
    """The probe of some layers: what was chosen, and predicted labels (utterances,) by part.

    The predictions of the training part are cross-validated.
    """

    layers: list[int]
    choice: Choice
    predictions: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class ProbeResult:
    """Probes by layer, and the utterances of the parts that they predict."""

    layers: list[LayerProbe]
    parts: dict[str, pd.DataFrame]
    labels: tuple[str, ...]
    command: list[str]
    synthetic: bool

    @property
    def best(self) -> LayerProbe:
        """The layer with the best cross-validated UAR."""
        return max(self.layers, key=lambda probe: probe.choice.score)

    @property
    def training_overrides(self) -> list[str]:
        """The overrides that train the head of the best layer."""
        best = self.best
        kept = [word for word in self.command if key_of(word) not in (*PROBED, *SEARCHED)]
        layers = ",".join(map(str, best.layers))
        where = ["model.layer=null", f"model.join_layers=[{layers}]"]
        if len(best.layers) == 1:
            where = [f"model.layer={layers}"]
        chosen = ["model=linear", *where, f"model.fit={best.choice.best.kind}"]
        if best.choice.best.strength is not None:
            chosen.append(f"model.fit_strengths=[{best.choice.best.strength:g}]")
        return [*kept, *chosen]


def linear_config(config: TrainConfig) -> TrainConfig:
    """The config with a linear head on pooled features of all layers."""
    fit = config.model.fit if config.model.fits else HeadFit.auto
    standardize = config.model.standardize
    if standardize == Standardize.none:
        standardize = Standardize.train
    changes: dict[str, Any] = {
        "mode": Mode.head,
        "projector": False,
        "layer": None,
        "fit": fit,
        "join_layers": [],
        "top_layers": None,
        "weighted_layers": False,
    }
    model = replace(config.model, **changes, standardize=standardize)
    return replace(config, model=model)


def probe(
    config: TrainConfig, manifest: Manifest, cache: AudioCache, *, test: bool = False
) -> ProbeResult:
    """Probe every layer of a backbone on a split manifest; `test` also predicts the test part.

    Device and precision are those in which the config would train.
    """
    config = linear_config(config)
    seed_everything(config.seed, workers=True, verbose=False)  # for random weights, as in training
    trainer = build_trainer(replace(config, callbacks={}, logger={}))
    module, data = build(config, manifest, cache)
    parts = ("train", "val", *(["test"] if test else []))
    original = data.compute_states(module.network.eval(), trainer, parts, Stored.layers)
    copies = [
        data.store_states(module.network, replace(original.key, speed=speed), ["train"])
        for speed in config.data.speeds
    ]
    tables = {part: manifest.part(part) for part in parts}
    probes, validated = [], {}
    with progress_bar("layers") as progress:
        for layers in progress.track(list_layers(module.network.depth), description="Probing"):
            described = {
                part: PartFeatures.of(
                    read_layers(copies if part == "train" else [original], table, layers),
                    table,
                    config.data.label_space,
                )
                for part, table in tables.items()
            }
            if len(layers) == 1:
                validated[layers[0]] = validate(described["train"], config)
            logits = average([validated[layer] for layer in layers])
            probes.append(fit_layers(layers, described, config, logits))
    labels, synthetic = module.metadata.labels, module.metadata.synthetic
    return ProbeResult(probes, tables, labels, list(config.command), synthetic)


def list_layers(depth: int) -> list[list[int]]:
    """Every layer alone, and all transformer layers together."""
    together = [list(range(1, depth + 1))] if depth > 1 else []
    return [*([layer] for layer in range(depth + 1)), *together]


def read_layers(
    copies: list[HiddenStateCache], table: pd.DataFrame, layers: list[int]
) -> NDArray[np.float32]:
    """The pooled features (copies, utterances, size) of some layers, concatenated."""
    rows = [
        [states.read(content).states[0, layers].ravel() for content in table["content"]]
        for states in copies
    ]
    return np.array(rows, np.float32)


def validate(train: PartFeatures, config: TrainConfig) -> dict[Candidate, Features]:
    """The cross-validated logits (utterances, classes) of each candidate on one layer."""
    scaled, _ = standardize_copies(train.values, train.groups(config.model.standardize), config)
    candidates = list_candidates(config, train.labels)
    return cross_validate(scaled, train.labels, train.fold_groups(config), candidates, config.seed)


def average(layers: list[dict[Candidate, Features]]) -> dict[Candidate, Features]:
    """The logits of each candidate on joined layers, which are the mean of those of the layers."""
    return {each: np.mean([logits[each] for logits in layers], axis=0) for each in layers[0]}


def fit_layers(
    layers: list[int],
    parts: dict[str, PartFeatures],
    config: TrainConfig,
    logits: dict[Candidate, Features],
) -> LayerProbe:
    """Choose a candidate by cross-validated logits, fit it, and predict the other parts."""
    train = parts["train"]
    scaled, standardization = standardize_copies(
        train.values, train.groups(config.model.standardize), config
    )
    choice = select(logits, train.labels)
    head = choice.best.fit_copies(scaled, train.labels, len(layers))
    predictions = {
        name: head.predict(np.stack([standardization.apply(copy) for copy in part.values]))
        for name, part in parts.items()
        if name != "train"
    }
    return LayerProbe(layers, choice, {"train": choice.predictions} | predictions)
