"""Heads fitted at several speeds, training from another run, and averaged weights."""

import numpy as np
import pytest
import torch

from ser import Predictor
from ser.config.callbacks import WeightAveragingConfig
from ser.config.evaluate import EvaluateConfig
from ser.errors import UserError
from ser.evaluation.evaluate import evaluate
from ser.models.checkpoint import Checkpoint
from ser.training.train import train

LINEAR = ["model=linear", "model.fit=lda", "split=stratified"]


@pytest.fixture(scope="module")
def fitted(quick_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    train(quick_config(folder, *LINEAR, "data.speeds=[0.9,1,1.1]"))
    return folder


@pytest.mark.slow
def test_a_head_can_be_fitted_at_several_speeds(quick_config, fitted, tmp_path):
    train(quick_config(tmp_path, *LINEAR))
    heads = [
        Checkpoint.open(folder / "checkpoints" / "best.ckpt").load_network().classifier.weight
        for folder in (fitted, tmp_path)
    ]
    assert not torch.allclose(heads[0], heads[1])


def test_logits_are_the_mean_over_the_speeds(fitted):
    waveform = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    speeds = (0.8, 1.25)
    each = [Predictor.from_checkpoint(fitted, "cpu", speeds=[s]).logits([waveform]) for s in speeds]
    both = Predictor.from_checkpoint(fitted, "cpu", speeds=speeds).logits([waveform])
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-3


@pytest.mark.slow
def test_an_evaluation_can_average_over_speeds(fitted):
    plain, averaged = (
        evaluate(EvaluateConfig(ckpt=str(fitted), speeds=speeds)).predicted.logits
        for speeds in ([1.0], [0.9, 1.0, 1.1])
    )
    assert not np.allclose(plain, averaged)


@pytest.mark.slow
def test_training_starts_from_the_weights_and_the_head_of_another_run(
    quick_config, fitted, tmp_path
):
    options = ["model.projector=false", "model.pooling=statistics", "model.standardize=train"]
    options += ["split=stratified", f"init_from={fitted}", "model.lr=1e-9"]
    train(quick_config(tmp_path, *options, "trainer.max_steps=1"))
    first, second = (
        Checkpoint.open(folder / "checkpoints" / "best.ckpt").load_network().state_dict()
        for folder in (fitted, tmp_path)
    )
    del first["scaler.spread"]  # trained layers cannot be adapted to speakers
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_training_can_start_from_a_fitted_head(quick_config, fitted, tmp_path):
    """With a tiny learning rate, the network after training is the one whose head was fitted."""
    options = [*LINEAR, "model.mode=full", "model.lr=1e-9", "trainer.max_steps=1"]
    train(quick_config(tmp_path / "trained", *options))
    train(quick_config(tmp_path / "fitted", *LINEAR))
    trained, fitted_only = (
        Checkpoint.open(tmp_path / name / "checkpoints" / "best.ckpt").load_network().state_dict()
        for name in ("trained", "fitted")
    )
    del fitted_only["scaler.spread"]  # trained layers cannot be adapted to speakers
    for name, value in fitted_only.items():
        torch.testing.assert_close(trained[name], value, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_training_from_a_fitted_head_is_resumed_exactly(quick_config, tmp_path):
    options = [*LINEAR, "model.mode=full", "model.top_layers=1", "model.schedule=constant"]
    options += ["model.backbone.mask_time_prob=0", "model.warmup_ratio=0"]
    train(quick_config(tmp_path / "whole", *options, "trainer.max_epochs=2"))
    train(quick_config(tmp_path / "half", *options, "trainer.max_epochs=1"))
    again = quick_config(
        tmp_path / "resumed", *options, "trainer.max_epochs=2", f"ckpt={tmp_path / 'half'}"
    )
    train(again)
    whole, resumed = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "resumed")
    )
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, atol=0, rtol=0)


def test_a_run_with_another_head_cannot_be_started_from(quick_config, fitted, tmp_path):
    with pytest.raises(UserError, match="init_from"):
        train(quick_config(tmp_path, "split=stratified", f"init_from={fitted}"))


@pytest.mark.slow
def test_averaged_weights_are_validated_and_saved(quick_config, tmp_path):
    config = quick_config(tmp_path, "trainer.max_steps=4", "model.schedule=constant")
    config.callbacks["weight_averaging"] = WeightAveragingConfig(decay=0.5)
    train(config)
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    name = "network.classifier.weight"
    last, averaged = content["current_model_state"][name], content["state_dict"][name]
    assert not torch.equal(last, averaged)
    again = evaluate(EvaluateConfig(ckpt=str(tmp_path), part="val"))  # pyright: ignore
    assert again.overall.scores.uar == pytest.approx(again.val_uar, abs=0.02)
