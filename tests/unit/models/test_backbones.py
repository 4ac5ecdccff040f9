"""The published backbones of conf/backbone, as small random copies of their configurations."""

from pathlib import Path

import pytest
import torch

from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig
from ser.corpora.emotions import LABELS
from ser.data.dataset import collate
from ser.models.build import build_network
from ser.reports.backbone_licences import LICENCES, describe_licence

BACKBONES = Path(__file__).parents[3] / "conf" / "backbone"
NAMES = sorted(file.stem for file in BACKBONES.glob("*.yaml") if file.stem != "tiny")
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "conv_dim": [16] * 7, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 24,
}  # fmt: skip
SMALL_WHISPER = {
    "d_model": 32, "encoder_layers": 2, "num_hidden_layers": 2, "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
}  # fmt: skip


def shrink(architecture: dict) -> dict:
    family = architecture.get("model_type", "wav2vec2")
    small: dict = SMALL_WHISPER if family == "whisper" else dict(SMALL)
    if family.startswith("sew"):
        small["conv_dim"] = [16] * 13
    return {k: v for k, v in architecture.items() if k != "name_or_path"} | small


@pytest.mark.parametrize("name", NAMES)
def test_a_small_copy_of_every_backbone_ignores_padding(compose_config, clip, batch, name):
    backbone = compose_config(f"backbone={name}", "output_dir=x").model.backbone
    assert backbone.pretrained
    small = BackboneConfig("x", pretrained=False, architecture=shrink(backbone.architecture))
    torch.manual_seed(0)
    network = build_network(ModelConfig(backbone=small), LABELS).eval()
    alone = collate([clip(0.4, 1)])
    with torch.no_grad():
        logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
        expected = network(alone["input_values"], attention_mask=alone["attention_mask"]).logits
    torch.testing.assert_close(logits[:1], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_licence_of_every_backbone_is_known(compose_config, name):
    backbone = compose_config(f"backbone={name}", "output_dir=x").model.backbone
    assert backbone.name == backbone.architecture["name_or_path"]
    assert LICENCES[backbone.name] in describe_licence(backbone.name)


def test_a_licence_that_forbids_commercial_use_is_named():
    assert "commercial" in describe_licence("facebook/mms-1b")
    assert "commercial" not in describe_licence("facebook/wav2vec2-base")
    assert "not known" in describe_licence("someone/something")
