from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

from ser.data import Example, collate
from ser.labels import LABELS
from ser.model import (
    build_feature_extractor,
    build_network,
    plain,
    rebuild_network,
)
from ser.model_config import BackboneConfig, ModelConfig
from ser.network import MaskedGroupNorm
from ser.tuning import find_matrices, parameter_groups

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def build(backbone: BackboneConfig) -> Any:
    return build_network(ModelConfig(backbone=backbone), LABELS)


def tiny(norm: str = "layer", **options) -> BackboneConfig:
    architecture = TINY | {"feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
    return BackboneConfig(name="tiny", pretrained=False, architecture=architecture, **options)


def clip(seconds: float, seed: int) -> Example:
    noise = np.random.default_rng(seed).normal(0, 1, round(16_000 * seconds))
    return Example(noise.astype(np.float32), 0, seed)


def test_masked_group_norm_is_the_plain_one_where_nothing_is_padded():
    torch.manual_seed(0)
    plain_norm, masked = torch.nn.GroupNorm(4, 4), MaskedGroupNorm(4, 4)
    frames = torch.randn(2, 4, 10)
    masked.lengths = torch.tensor([10, 10])
    torch.testing.assert_close(masked(frames), plain_norm(frames))
    masked.lengths = torch.tensor([6, 10])
    torch.testing.assert_close(masked(frames)[:1, :, :6], plain_norm(frames[:1, :, :6]))


def test_a_frozen_feature_encoder_is_left_out_of_the_backward_pass():
    network = build(tiny())
    network.freeze_feature_encoder()
    features = network.base_model.feature_extractor(torch.randn(1, 8000))
    assert not features.requires_grad
    network(torch.randn(1, 8000)).logits.sum().backward()
    assert network.classifier.weight.grad is not None


def test_a_new_network_is_in_training_mode_with_a_head_for_the_labels():
    network = build(tiny())
    assert all(module.training for module in network.modules())
    assert network.classifier.out_features == 8
    assert network.config.id2label == dict(enumerate(LABELS))
    assert network.config.label2id["calm"] == 7


def test_regularisation_is_what_the_settings_say():
    network = build(tiny(mask_time_prob=0.1, layerdrop=0.2))
    config = network.config
    assert (config.mask_time_prob, config.layerdrop, config.mask_time_min_masks) == (0.1, 0.2, 0)


def test_without_specaugment_every_parameter_gets_a_gradient():
    network = build(tiny(mask_time_prob=0.0))
    network(torch.randn(2, 8000)).logits.sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_decay_is_for_matrices_only():
    network = build(tiny())
    network.freeze_feature_encoder()
    decayed, free = parameter_groups(network, ModelConfig(weight_decay=0.1), find_matrices(network))
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in free["params"])
    trainable = sum(parameter.requires_grad for parameter in network.parameters())
    assert len(decayed["params"]) + len(free["params"]) == trainable


def test_a_network_is_rebuilt_from_plain_values():
    network = build(tiny("group")).eval()
    again = rebuild_network(plain(network.config))
    again.load_state_dict(network.state_dict())
    waveform = torch.randn(1, 8000)
    torch.testing.assert_close(again.eval()(waveform).logits, network(waveform).logits)


@pytest.fixture
def pretrained(tmp_path) -> Path:
    """A folder as the hub serves it: a pretraining checkpoint without a classifier."""
    torch.manual_seed(1)
    settings = TINY | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    Wav2Vec2ForPreTraining(Wav2Vec2Config(**settings)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path)
    return tmp_path


def test_a_local_folder_gives_its_weights_and_a_fresh_head(pretrained):
    backbone = BackboneConfig(name=str(pretrained))
    network = build(backbone)
    source = Wav2Vec2ForPreTraining.from_pretrained(pretrained).wav2vec2.state_dict()
    loaded = network.base_model.state_dict()
    assert all(torch.equal(loaded[key], source[key]) for key in source)
    assert network.classifier.out_features == 8
    assert network.dtype == torch.float32
    assert network.training
    assert build_feature_extractor(backbone).sampling_rate == 16_000


def test_half_precision_weights_are_loaded_in_full_precision(pretrained):
    Wav2Vec2ForPreTraining.from_pretrained(pretrained).half().save_pretrained(pretrained)
    assert build(BackboneConfig(name=str(pretrained))).dtype == torch.float32


def test_weights_that_do_not_fit_are_refused(pretrained):
    config = Wav2Vec2Config.from_pretrained(pretrained, hidden_size=48)
    config.save_pretrained(pretrained)
    with pytest.raises(ValueError, match="weights are missing or have another shape"):
        build(BackboneConfig(name=str(pretrained)))


def test_a_backbone_at_another_sample_rate_is_refused(pretrained):
    Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(pretrained)
    with pytest.raises(ValueError, match="wants 8000 Hz"):
        build_feature_extractor(BackboneConfig(name=str(pretrained)))


def test_an_unreachable_backbone_is_one_sentence_with_ways_out():
    with pytest.raises(OSError, match=r"nobody/nothing is neither.*pretrained=false"):
        build(BackboneConfig(name="nobody/nothing"))


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


def test_a_head_for_other_emotions_is_not_kept(pretrained):
    """Eight classes in another order would fit, and be wrong."""
    other = build(BackboneConfig(name=str(pretrained)))
    other.save_pretrained(pretrained)
    again = build(BackboneConfig(name=str(pretrained)))
    assert not torch.equal(again.classifier.weight, other.classifier.weight)
    assert not torch.equal(again.projector.weight, other.projector.weight)
    layer = "encoder.layers.0.attention.k_proj.weight"
    assert torch.equal(again.base_model.state_dict()[layer], other.base_model.state_dict()[layer])


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_half_precision_weights_compute(norm):
    network = build(tiny(norm)).to(torch.bfloat16).eval()
    batch = collate([clip(0.5, 1), clip(0.7, 2)], 0)
    values = batch["input_values"].to(torch.bfloat16)
    with torch.no_grad():
        logits = network(values, attention_mask=batch["attention_mask"]).logits
    assert logits.isfinite().all()
