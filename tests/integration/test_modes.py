"""Every way of fine-tuning trains, resumes, and is evaluated from its checkpoint alone."""

import pytest
import torch

from ser.config import EvaluateConfig
from ser.evaluation import evaluate
from ser.model import load_network, read_checkpoint
from ser.training import train

SHORT = ["trainer.limit_train_batches=5", "trainer.limit_val_batches=3"]
MODES = {
    "lora": ["model=lora", "model.top_layers=1"],
    "head": ["model=head", "model.pooling=statistics"],
    "top": ["model.top_layers=1", "model.weighted_layers=true", "model.pooling=attention"],
}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_trains_and_its_checkpoint_is_all_that_is_needed(quick_config, tmp_path, mode):
    result = train(quick_config(tmp_path, *MODES[mode], *SHORT))
    network, blueprint = load_network(tmp_path / "checkpoints" / "best.ckpt")
    assert not any(module.training for module in network.modules())
    assert not any("lora" in name for name in network.state_dict())
    assert blueprint.config["model"]["mode"] == {"top": "full"}.get(mode, mode)
    assert evaluate(EvaluateConfig(ckpt=str(result.checkpoint))).utterances > 100


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] * (mode != "top")) for mode in MODES]
)
def test_a_resumed_mode_ends_with_the_weights_of_an_uninterrupted_one(quick_config, tmp_path, mode):
    options = [*MODES[mode], *SHORT, "model.schedule=constant", "model.warmup_ratio=0"]
    train(quick_config(tmp_path / "whole", *options, "trainer.max_epochs=2"))
    train(quick_config(tmp_path / "part", *options, "trainer.max_epochs=1"))
    last = tmp_path / "part" / "checkpoints" / "last.ckpt"
    train(quick_config(tmp_path / "rest", *options, "trainer.max_epochs=2", f"ckpt={last}"))
    whole = read_checkpoint(tmp_path / "whole" / "checkpoints" / "last.ckpt")[1]
    resumed = read_checkpoint(tmp_path / "rest" / "checkpoints" / "last.ckpt")[1]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
