from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForAudioClassification

from ser.data import Example, collate
from ser.labels import LABELS
from ser.model import build_network
from ser.model_config import AdapterConfig, BackboneConfig, ModelConfig, Pooling
from ser.network import FAMILIES, EmotionNetwork, MaskedGroupNorm
from ser.pooling import AttentionPooling, MeanPooling, StatisticsPooling

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 24,
}
# Of each family the two architectures that its published models have.
KINDS = [(family, norm) for family in FAMILIES for norm in ("group", "layer")]


def build(family: str = "wav2vec2", norm: str = "layer", **options: Any) -> EmotionNetwork:
    stable = {"feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
    if family == "data2vec-audio":
        stable = {"conv_pos_kernel_size": 19, "num_conv_pos_embeddings": 3}
    architecture = TINY | stable | {"model_type": family}
    backbone = BackboneConfig(
        name="tiny", pretrained=False, architecture=architecture, mask_time_prob=0.0
    )
    torch.manual_seed(0)
    network = build_network(ModelConfig(backbone=backbone, **options), LABELS)
    for parameter in network.parameters():  # fresh norms and biases would hide what is wrong
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def clip(seconds: float, seed: int) -> Example:
    noise = np.random.default_rng(seed).normal(0, 1, round(16_000 * seconds))
    return Example(noise.astype(np.float32), 0, seed)


CLIPS = [clip(0.4, 1), clip(1.2, 2), clip(0.8, 3)]


def predict(network: EmotionNetwork, *clips: Example) -> torch.Tensor:
    batch = collate(list(clips), 0)
    with torch.no_grad():
        return network(batch["input_values"], attention_mask=batch["attention_mask"]).logits


@pytest.mark.parametrize(("family", "norm"), KINDS)
def test_a_prediction_does_not_depend_on_its_batch_neighbours(family, norm):
    network = build(family, norm)
    alone, among = predict(network, CLIPS[0]), predict(network, *CLIPS)
    torch.testing.assert_close(among[:1], alone, atol=1e-4, rtol=0)
    assert (predict(network, clip(0.4, 9)) - alone).abs().max() > 1e-3  # it does depend on the clip


@pytest.mark.parametrize("pooling", Pooling)
def test_no_pooling_looks_at_padding(pooling):
    network = build(pooling=pooling)
    alone, among = predict(network, CLIPS[0]), predict(network, *CLIPS)
    torch.testing.assert_close(among[:1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("family", "norm"), [*KINDS[:2], *KINDS[3::2]])
def test_going_on_from_hidden_states_is_as_good_as_starting_anew(family, norm, weighted):
    network = build(family, norm, weighted_layers=weighted)
    batch = collate(CLIPS, 0)
    expected = predict(network, *CLIPS)
    for layer in range(network.depth + 1):
        network.resumed_layer = layer
        with torch.no_grad():
            states, mask = network.encode(batch["input_values"], batch["attention_mask"], layer)
            logits = network(states, attention_mask=mask).logits
        assert states.shape[2] == (layer + 1 if weighted else 1)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_with_mean_pooling_it_is_the_hugging_face_classifier(family, weighted, tmp_path):
    """So an exported folder means the same to others, under the name they know."""
    network = build(family, weighted_layers=weighted)
    network.save_pretrained(tmp_path)
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == type(network).__name__
    assert network.config.architectures == [type(theirs).__name__]
    waveform = torch.randn(2, 16_000)
    with torch.no_grad():
        torch.testing.assert_close(network(waveform).logits, theirs(waveform).logits)


def test_mean_pooling_by_hand():
    frames = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    assert MeanPooling(2)(frames, mask).tolist() == [[2.0, 4.0]]


def test_statistics_pooling_by_hand():
    frames = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    pooled = StatisticsPooling(2)(frames, mask)[0].tolist()
    assert pooled == pytest.approx([2.0, 4.0, 1.0, 2.0], abs=1e-5)


def test_attention_pooling_is_a_weighted_mean_of_the_valid_frames():
    torch.manual_seed(0)
    pooling = AttentionPooling(2)
    frames = torch.tensor([[[1.0, -1.0], [3.0, 1.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    first, second = pooling.score(torch.tanh(pooling.hidden(frames)))[0, :2, 0].exp().tolist()
    expected = (first * 1 + second * 3) / (first + second)
    assert pooling(frames, mask)[0, 0].item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", [AttentionPooling, StatisticsPooling])
def test_a_single_frame_has_finite_gradients(kind):
    frames = torch.randn(1, 1, 4, requires_grad=True)
    kind(4)(frames, torch.ones(1, 1, dtype=torch.bool)).sum().backward()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()


@pytest.mark.parametrize("name", ["wav2vec2-bert", "sew", "whisper"])
def test_a_model_of_another_family_is_refused(name):
    backbone = BackboneConfig(name="x", pretrained=False, architecture={"model_type": name})
    with pytest.raises(ValueError, match=rf"is a {name} model.*choose one of wav2vec2, hubert"):
        build_network(ModelConfig(backbone=backbone, lora=AdapterConfig()), LABELS)


@pytest.mark.parametrize("seconds", [0.01, 0.25])
def test_specaugment_does_not_fail_on_short_clips(seconds):
    strides = {"conv_kernel": [10, 8, 8, 4, 4, 2, 2], "conv_stride": [10, 4, 4, 2, 2, 1, 1]}
    architecture = TINY | strides | {"feat_extract_norm": "layer"}
    backbone = BackboneConfig(
        "tiny", pretrained=False, architecture=architecture, mask_time_prob=0.5
    )
    network = build_network(ModelConfig(backbone=backbone), LABELS)
    batch = collate([clip(seconds, 0)], 4000)
    logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
    assert logits.isfinite().all()


@pytest.mark.parametrize("trained", [True, False])
def test_both_ways_of_the_masked_norm_give_the_plain_norm_of_each_utterance(trained):
    norm = MaskedGroupNorm(6, 6).requires_grad_(trained)
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    frames, lengths = torch.randn(3, 6, 50), torch.tensor([50, 31, 7])
    ways = norm.normalise_each(frames, lengths), norm.normalise_together(frames, lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = norm(frames[row : row + 1, :, :length])[0]
        for way in ways:
            torch.testing.assert_close(way[row, :, :length], expected, atol=1e-5, rtol=1e-5)
    assert all(way.requires_grad == trained for way in ways)
