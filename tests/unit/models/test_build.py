"""Networks from the hub, from folders and from random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

from ser.config.backbone import BackboneConfig
from ser.config.model import HeadFit, Mode, ModelConfig, Pooling, Standardize
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.models.build import (
    build_feature_extractor,
    build_network,
    configure_execution,
    plain,
    restore_network,
)
from ser.models.families.registry import FAMILIES


def build(backbone: BackboneConfig) -> Any:
    return build_network(ModelConfig(backbone=backbone), LABELS)


def test_a_new_network_is_in_training_mode_with_a_head_for_the_labels(make_model, kind):
    network = build_network(make_model(kind), LABELS)
    assert all(module.training for module in network.modules())
    assert network.classifier.out_features == 8
    assert network.config.id2label == dict(enumerate(LABELS))
    assert dict(network.config.label2id or {})["calm"] == 7


def test_the_settings_of_regularisation_are_in_the_configuration(make_model, kind):
    model = make_model(kind, mask_time_prob=0.1, mask_feature_prob=0.3, layerdrop=0.2)
    config = build_network(model, LABELS).config
    assert (config.mask_time_prob, config.layerdrop, config.mask_time_min_masks) == (0.1, 0.2, 0)
    assert config.mask_feature_prob == 0.3


def test_a_network_is_restored_from_plain_values(make_network, kind):
    network = make_network(kind).eval()
    again = restore_network(plain(network.config), network.state_dict())
    assert not any(module.training for module in again.modules())
    waveforms = torch.randn(2, 8000)
    with torch.no_grad():
        torch.testing.assert_close(again(waveforms).logits, network(waveforms).logits)
    weights = network.state_dict()
    weights["classifier.bias"] = torch.zeros(5)
    with pytest.raises(ValueError, match=r"classifier\.bias"):
        restore_network(plain(network.config), weights)


@pytest.fixture
def pretrained(tmp_path, kinds) -> Path:
    """A folder as the hub serves it: a pretraining checkpoint without a classifier."""
    torch.manual_seed(1)
    Wav2Vec2ForPreTraining(Wav2Vec2Config(**kinds["wav2vec2-layer"])).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path)
    return tmp_path


def test_a_local_folder_gives_its_weights_and_a_new_head(pretrained):
    backbone = BackboneConfig(name=str(pretrained))
    network = build(backbone)
    source = Wav2Vec2ForPreTraining.from_pretrained(pretrained).wav2vec2.state_dict()
    loaded = network.base_model.state_dict()
    assert all(torch.equal(loaded[key], source[key]) for key in source)
    assert network.classifier.out_features == 8
    assert network.dtype == torch.float32
    assert network.training
    assert build_feature_extractor(backbone, FAMILIES["wav2vec2"]).sampling_rate == 16_000


def test_the_statistics_of_a_new_head_change_nothing(pretrained):
    model = ModelConfig(
        backbone=BackboneConfig(name=str(pretrained)),
        mode=Mode.head,
        projector=False,
        pooling=Pooling.statistics,
        standardize=Standardize.speaker,
        fit=HeadFit.lda,
    )
    scaler: Any = build_network(model, LABELS).scaler
    assert set(scaler.mean.tolist()) == set(scaler.spread.tolist()) == {0}
    assert set(scaler.scale.tolist()) == {1}


def test_half_precision_weights_are_loaded_in_full_precision(pretrained):
    Wav2Vec2ForPreTraining.from_pretrained(pretrained).half().save_pretrained(pretrained)
    assert build(BackboneConfig(name=str(pretrained))).dtype == torch.float32


def test_weights_that_do_not_fit_their_configuration_are_an_error(pretrained):
    config = Wav2Vec2Config.from_pretrained(pretrained, hidden_size=48)
    config.save_pretrained(pretrained)
    with pytest.raises(UserError, match=r"model\.backbone\.name"):
        build(BackboneConfig(name=str(pretrained)))


@pytest.mark.parametrize("content", [None, b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_weights_that_are_missing_or_were_not_downloaded_are_an_error(pretrained, content):
    weights = pretrained / "model.safetensors"
    weights.unlink()
    if content is not None:
        weights.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.backbone\.name"):
        build(BackboneConfig(str(pretrained)))


def test_a_backbone_at_another_sample_rate_is_an_error(pretrained):
    Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(pretrained)
    with pytest.raises(UserError, match="8000 Hz"):
        build_feature_extractor(BackboneConfig(name=str(pretrained)), FAMILIES["wav2vec2"])


def test_a_backbone_that_cannot_be_reached_is_an_error_with_ways_out():
    with pytest.raises(UserError, match=r"nobody/nothing.*HF_ENDPOINT"):
        build(BackboneConfig(name="nobody/nothing"))


@pytest.mark.parametrize("family", ["audio-spectrogram-transformer", "clap", "bert"])
def test_a_model_of_another_family_is_an_error_that_names_the_known_ones(make_model, family):
    with pytest.raises(UserError, match=rf"{family}.*wav2vec2, hubert.*whisper"):
        build_network(make_model({"model_type": family}), LABELS)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "nonsense"},
        {"num_attention_heads": 5},
        {"num_attention_heads": 0},
        {"hidden_size": "wide"},
        {"hidden_size": -3},
        {"conv_dim": [16]},
    ],
)
def test_an_architecture_that_is_not_valid_is_an_error(make_model, kinds, change):
    with pytest.raises(UserError, match=r"model\.backbone"):
        build_network(make_model(kinds["wav2vec2-layer"] | change), LABELS)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("xlsr53", 315.7),
        ("wav2vec2_base", 94.6),
        ("hubert_base", 94.6),
        ("wavlm_base_plus", 94.6),
        ("wavlm_large", 315.7),
        ("hubert_large", 315.7),
        ("wav2vec2_large_robust", 315.7),
        ("data2vec_base", 93.4),
        ("unispeech_sat_base_plus", 94.6),
    ],
)
def test_an_architecture_has_the_published_size(compose_config, name, millions):
    choice = [f"backbone={name}", "model.backbone.pretrained=false", "output_dir=x"]
    with torch.device("meta"):
        network = build_network(compose_config(*choice).model, LABELS)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.5)


def test_a_head_for_other_classes_is_replaced(pretrained):
    """Eight classes in another order would fit, and be wrong."""
    other = build(BackboneConfig(name=str(pretrained)))
    other.save_pretrained(pretrained)
    again = build(BackboneConfig(name=str(pretrained)))
    assert not torch.equal(again.classifier.weight, other.classifier.weight)
    assert not torch.equal(again.projector.weight, other.projector.weight)
    layer = "encoder.layers.0.attention.k_proj.weight"
    assert torch.equal(again.base_model.state_dict()[layer], other.base_model.state_dict()[layer])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav2vec2-group", "wavlm-layer", "whisper"])
def test_compilation_changes_no_gradient_beyond_rounding(make_model, make_network, kinds, kind):
    gradients = []
    for compiled in (False, True):
        network = make_network(kinds[kind]).eval()
        configure_execution(network, make_model(kinds[kind], compile=compiled))
        for seconds in (0.5, 0.6):  # another length compiles with dynamic shapes
            values = torch.randn(2, round(seconds * 16_000), generator=torch.manual_seed(0))
            mask = torch.ones(values.shape, dtype=torch.long)
            network(values, attention_mask=mask).logits.square().sum().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)
