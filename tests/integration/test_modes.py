"""Every way of fine-tuning trains, resumes, and is evaluated from its checkpoint alone."""

import numpy as np
import pytest
import torch

from ser.commands.evaluate import run as evaluate
from ser.config.evaluate import EvaluateConfig
from ser.config.split import Part
from ser.models.checkpoint import Checkpoint
from ser.preparation.manifest import read
from ser.training.train import train

SHORT = ["trainer.limit_train_batches=5"]
MODES = {
    "lora": ["model=lora", "model.top_layers=1"],
    "head": ["model=head", "model.pooling=statistics"],
    "top": ["model.top_layers=1", "model.weighted_layers=true", "model.pooling=attention"],
}


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] * (mode != "head")) for mode in MODES]
)
def test_a_mode_trains_and_its_checkpoint_is_all_that_is_needed(quick_config, tmp_path, mode):
    result = train(quick_config(tmp_path, *MODES[mode], *SHORT))
    checkpoint = Checkpoint.open(tmp_path / "checkpoints" / "best.ckpt")
    network = checkpoint.load_network()
    assert not any(module.training for module in network.modules())
    assert not any("lora" in name for name in network.state_dict())
    assert checkpoint.metadata.config.model.mode == {"top": "full"}.get(mode, mode)
    # Validation in training went by hidden states from the disk, and this goes by waveforms.
    again = evaluate(EvaluateConfig(ckpt=str(result.checkpoint), part=Part.val))
    assert again.uar == pytest.approx(result.score, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_resumed_mode_ends_with_the_weights_of_an_uninterrupted_one(quick_config, tmp_path, mode):
    options = [*MODES[mode], *SHORT, "model.schedule=constant", "model.warmup_ratio=0"]
    train(quick_config(tmp_path / "whole", *options, "trainer.max_epochs=2"))
    train(quick_config(tmp_path / "part", *options, "trainer.max_epochs=1"))
    last = tmp_path / "part" / "checkpoints" / "last.ckpt"
    train(quick_config(tmp_path / "rest", *options, "trainer.max_epochs=2", f"ckpt={last}"))
    whole = Checkpoint.open(tmp_path / "whole" / "checkpoints" / "last.ckpt").weights
    resumed = Checkpoint.open(tmp_path / "rest" / "checkpoints" / "last.ckpt").weights
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_hidden_states_are_shared_by_the_runs_of_a_sweep(quick_config, tmp_path):
    options = ["model=head", f"data.cache_dir={tmp_path}", *SHORT]
    for run, choice in enumerate(["model.lr=1e-2", "model.label_smoothing=0.2"]):
        train(quick_config(tmp_path / str(run), *options, choice))
    [states] = tmp_path.glob("hidden_states/*/*.npy")
    table = read(tmp_path / "0" / "manifest.csv")
    kept = np.load(states, mmap_mode="r")
    assert kept.shape == (sum(table["split"] != "test"), 1, 64)  # one mean an utterance


def test_without_the_cache_nothing_is_written(quick_config, tmp_path):
    options = ["model=head", f"data.cache_dir={tmp_path}", "model.cache_hidden_states=false"]
    train(quick_config(tmp_path / "run", *options, "trainer.max_steps=1"))
    assert not (tmp_path / "hidden_states").exists()


@pytest.mark.slow
def test_every_remedy_for_imbalance_and_few_data_trains_together(quick_config, tmp_path):
    """And what changes with the epoch is not computed once."""
    result = train(
        quick_config(
            tmp_path / "run",
            f"data.cache_dir={tmp_path}",
            "augment=speech",
            "model.top_layers=1",
            "model.loss=focal",
            "model.class_weights=balanced",
            "model.mixup=0.4",
            "model.backbone.mask_time_prob=0.05",
            "trainer.limit_train_batches=3",
        )
    )
    assert 0 <= result.score <= 1
    assert not (tmp_path / "hidden_states").exists()
