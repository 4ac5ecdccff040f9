"""Heads that are set up from pooled features of the training part."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ser.config.compose import compose_command
from ser.config.model import HeadFit, Mode, ModelConfig, Standardize
from ser.config.split import SplitConfig
from ser.config.train import TrainConfig
from ser.config.trainer import TrainerConfig
from ser.models.pooling import FeatureScaler
from ser.models.standardization import Standardization
from ser.training import features
from ser.training import train as training
from ser.training.features import PartFeatures, prepare_head

LABELS = ("sad", "happy", "calm")


@pytest.fixture
def part() -> PartFeatures:
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 40)
    speakers = [f"s{row // 12}" for row in range(120)]
    offsets = generator.normal(0, 3, (10, 6))[np.arange(120) // 12]
    values = generator.normal(0, 0.5, (120, 6)) + np.eye(6)[labels] + offsets
    return PartFeatures(values[None].astype(np.float32), labels, speakers, ["x"] * 120)


@pytest.fixture
def prepare(part, monkeypatch):
    monkeypatch.setattr(features, "collect", lambda *_: part)

    def prepare(standardize: Standardize, fit: HeadFit) -> tuple[Any, Any]:
        network: Any = SimpleNamespace(
            classifier=nn.Linear(6, 3), scaler=FeatureScaler(6, adaptable=True), joined=[]
        )
        table = pd.DataFrame({"content": [str(row) for row in range(120)]})
        manifest = SimpleNamespace(part=lambda _: table)
        data: Any = SimpleNamespace(manifest=manifest, states=SimpleNamespace(key="key"))
        model = ModelConfig(mode="head", projector=False, standardize=standardize, fit=fit)  # pyright: ignore
        described = SimpleNamespace(speeds=[1.0], label_space=["a", "b", "c"])
        config: Any = SimpleNamespace(model=model, seed=0, data=described, split=SplitConfig())
        prepare_head(network, data, config)
        return network, data

    return prepare


@pytest.mark.parametrize("standardize", [Standardize.train, Standardize.speaker])
def test_a_fitted_head_is_that_of_scikit_learn(prepare, part, standardize):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    network, _ = prepare(standardize, HeadFit.lda)
    values = part.values[0].astype(float)
    common = Standardization.fit(values, part.speakers)
    scaled = common.apply(values)
    if standardize == Standardize.speaker:
        scaled = common.apply_by_group(values, part.speakers)
    whole = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(whole, part.labels)
    inputs = torch.from_numpy(scaled * common.scale + common.mean).float()
    with torch.no_grad():
        logits = network.classifier(network.scaler(inputs))
    np.testing.assert_allclose(logits, expected.decision_function(whole), atol=1e-3)
    np.testing.assert_allclose(network.scaler.spread, common.spread, rtol=1e-5)


def test_speakers_help_a_head_that_learns_from_standardised_features(prepare, part):
    network, data = prepare(Standardize.speaker, HeadFit.none)
    common = Standardization.fit(part.values[0], part.speakers)
    scaled = common.apply_by_group(part.values[0].astype(float), part.speakers)
    adapted = np.stack([data.states.read(str(row)).states[0] for row in range(120)])
    with torch.no_grad():
        np.testing.assert_allclose(network.scaler(torch.from_numpy(adapted)), scaled, atol=1e-4)


def test_a_trained_head_without_groups_keeps_the_stored_features(prepare):
    _, data = prepare(Standardize.train, HeadFit.none)
    assert data.states.key == "key"
    assert not hasattr(data.states, "values")


@pytest.mark.parametrize(
    ("settings", "corpora", "expected"),
    [
        (["split=speaker"], 2, "speakers"),
        (["split=corpus", "split.held_out=[tess]"], 2, "corpora"),
        (["split=corpus", "split.held_out=[tess]"], 1, "speakers"),
        (["split=corpus", "split.held_out=[tess]", "model.fit_folds=speaker"], 2, "speakers"),
        (["split=speaker", "model.fit_folds=corpus"], 2, "corpora"),
    ],
)
def test_cross_validation_leaves_out_corpora_if_the_test_part_is_a_corpus(
    settings, corpora, expected
):
    names = [f"c{row % corpora}" for row in range(8)]
    part = PartFeatures(np.zeros((1, 8, 2), np.float32), np.zeros(8, int), list("abcdefgh"), names)
    config = compose_command("train", [*settings, "output_dir=x"], TrainConfig)
    assert part.fold_groups(config) == getattr(part, expected)


def test_features_are_computed_on_the_device_of_the_trainer(monkeypatch, tmp_path):
    devices = []
    monkeypatch.setattr(
        training, "prepare_head", lambda network, *_: devices.append(network.weight.device.type)
    )
    strategy = SimpleNamespace(root_device=torch.device("meta"))  # stands for a GPU
    trainer: Any = SimpleNamespace(
        strategy=strategy, callbacks=[], is_global_zero=False, world_size=1, precision="32-true"
    )
    model = ModelConfig(
        mode=Mode.head,
        projector=False,
        standardize=Standardize.train,
        fit=HeadFit.lda,
        cache_hidden_states=False,
    )
    config = TrainConfig(
        output_dir=str(tmp_path),
        model=model,
        trainer=TrainerConfig(fast_dev_run=True),
    )
    module: Any = SimpleNamespace(network=nn.Linear(2, 2))
    training.run(trainer, module, SimpleNamespace(), config, None)  # pyright: ignore
    assert devices == ["meta"]
