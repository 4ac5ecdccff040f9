"""Checkpoints that refer to a pretrained backbone."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from ser.config.model import Mode
from ser.config.train import TrainConfig
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.models.backbone_reference import BackboneReference, leave_out
from ser.models.build import build_network, plain
from ser.models.checkpoint import Checkpoint, CheckpointMetadata
from ser.models.families.registry import FAMILIES
from ser.models.finetuning import set_trainable
from ser.training.checkpoint_io import AtomicCheckpointIO
from ser.training.module import EmotionClassifier


@pytest.fixture
def backbone(tmp_path, make_network):
    """A pretrained backbone in a local folder."""
    folder = tmp_path / "backbone"
    make_network(seed=3).save_pretrained(folder)
    return folder


@pytest.fixture
def make_module(backbone, make_model):
    def make_module(mode: Mode, seed: int = 0) -> EmotionClassifier:
        model = make_model(mode=mode)
        model = replace(
            model, backbone=replace(model.backbone, name=str(backbone), pretrained=True)
        )
        torch.manual_seed(seed)
        network: Any = build_network(model, LABELS)
        set_trainable(network, model)
        metadata = CheckpointMetadata(
            config=TrainConfig(output_dir="x", model=model),
            labels=LABELS,
            sample_rate=16_000,
            network=plain(network.config),
            feature_extractor=plain(FAMILIES["wav2vec2"].feature_extractor()),
            manifest="fingerprint",
        )
        return EmotionClassifier(network, metadata)

    return make_module


def save(module: EmotionClassifier, path: Any, **options: Any) -> None:
    state = {name: value.clone() for name, value in module.state_dict().items()}
    content = {"state_dict": state, "hyper_parameters": dict(module.hparams)}
    module.reference  # noqa: B018 (computed at the first save)
    content["backbone"] = module.reference and module.reference.to_plain()
    AtomicCheckpointIO(**options).save_checkpoint(content, path)


@pytest.mark.parametrize("mode", [Mode.head, Mode.lora])
def test_checkpoints_refer_to_frozen_weights_and_restore_them(make_module, tmp_path, mode):
    module = make_module(mode)
    for parameter in module.network.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1
    paths = {name: tmp_path / f"{name}.ckpt" for name in ("best", "last")}
    for path in paths.values():
        save(module, path)
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    assert sizes["last"] < 0.7 * sizes["best"]
    best, last = (Checkpoint.open(paths[name]).load_network() for name in ("best", "last"))
    assert best.state_dict().keys() == last.state_dict().keys()
    for name, value in best.state_dict().items():
        torch.testing.assert_close(last.state_dict()[name], value, rtol=0, atol=0)
    save(module, tmp_path / "smaller" / "best.ckpt", complete=False)
    assert (tmp_path / "smaller" / "best.ckpt").stat().st_size < 0.7 * sizes["best"]


def test_a_run_resumes_from_a_checkpoint_without_frozen_weights(make_module, tmp_path):
    trained, resumed = make_module(Mode.head), make_module(Mode.head, seed=1)
    content = {"state_dict": trained.state_dict(), "backbone": trained.reference.to_plain()}
    reduced = leave_out(content)
    assert len(reduced["state_dict"]) < len(content["state_dict"])
    resumed.on_load_checkpoint(reduced)
    resumed.load_state_dict(reduced["state_dict"])
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_a_backbone_that_changed_or_is_gone_is_an_error(
    make_module, make_network, backbone, tmp_path
):
    save(make_module(Mode.head), tmp_path / "last.ckpt")
    make_network(seed=4).save_pretrained(backbone)
    with pytest.raises(UserError, match="trained with"):
        Checkpoint.open(tmp_path / "last.ckpt").load_network()
    (backbone / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=str(backbone)):
        Checkpoint.open(tmp_path / "last.ckpt").load_network()
    for file in backbone.iterdir():
        file.unlink()
    with pytest.raises(UserError, match=str(backbone)):
        Checkpoint.open(tmp_path / "last.ckpt").load_network()


def test_networks_that_train_most_weights_have_no_reference(make_module):
    assert make_module(Mode.full).reference is None
    network = make_module(Mode.head).network
    assert isinstance(BackboneReference.of(network, "name", None), BackboneReference)
