"""What a network computes, for every family: padding, hidden states, resuming from a layer."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForAudioClassification

from ser.config.model import Pooling
from ser.data.dataset import collate
from ser.models.families.registry import FAMILIES


def predict(network, batch):
    with torch.no_grad():
        return network(batch["input_values"], attention_mask=batch["attention_mask"]).logits


def gradient(network, batch, row: int) -> torch.Tensor:
    """The gradient of all parameters, of the logits of one row."""
    network.zero_grad()
    logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
    logits[row].square().sum().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_every_family_is_tested(kinds):
    assert {architecture["model_type"] for architecture in kinds.values()} == set(FAMILIES)


def test_logits_and_gradients_do_not_depend_on_padding(make_network, kind, clip, batch):
    network = make_network(kind).eval()
    alone = collate([clip(0.4, 1)])
    logits = predict(network, alone)
    torch.testing.assert_close(predict(network, batch)[:1], logits, atol=1e-4, rtol=0)
    expected = gradient(network, alone, 0)
    difference = (gradient(network, batch, 0) - expected).norm()
    assert difference < 1e-4 * expected.norm()
    other = predict(network, collate([clip(0.4, 9)]))
    assert (other - logits).abs().max() > 1e-3  # they do depend on the clip


@pytest.mark.parametrize("pooling", Pooling)
def test_no_pooling_depends_on_padding(make_network, batch, clip, pooling):
    network = make_network(pooling=pooling).eval()
    alone = predict(network, collate([clip(0.4, 1)]))
    torch.testing.assert_close(predict(network, batch)[:1], alone, atol=1e-5, rtol=0)


def test_without_padding_a_mask_changes_nothing(make_network, kind):
    network = make_network(kind).eval()
    waveforms = torch.randn(2, 16_000)
    whole = {"input_values": waveforms, "attention_mask": torch.ones(2, 16_000, dtype=torch.long)}
    expected = predict(network, whole | {"attention_mask": None})
    torch.testing.assert_close(predict(network, whole), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_resuming_from_hidden_states_gives_the_same_logits(make_network, kind, batch, weighted):
    network = make_network(kind, weighted_layers=weighted).eval()
    expected = predict(network, batch)
    for layer in range(network.depth + 1):
        network.first_trained_layer = layer
        with torch.no_grad():
            states, mask = network.encode(batch["input_values"], batch["attention_mask"], layer)
            logits = network(states, attention_mask=mask).logits
        assert states.shape[2] == (layer + 1 if weighted else 1)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_logits_and_hidden_states_are_those_of_hugging_face(make_network, kind, weighted, tmp_path):
    """With mean pooling and without padding. So others can use an exported folder."""
    if kind["model_type"] == "whisper":
        pytest.skip("transformers pads to 30 s; compared in families/test_whisper.py")
    network = make_network(kind, weighted_layers=weighted).eval()
    network.save_pretrained(tmp_path)
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == type(network).__name__
    assert network.config.architectures == [type(theirs).__name__]
    # 26 frames, an even number, which SEW does not change.
    waveforms = torch.randn(2, 8_400)
    tolerance: dict[str, Any] = {}
    inputs = {"input_values": waveforms}
    if kind["model_type"] == "wav2vec2-bert":
        extractor, tolerance = network.family.feature_extractor(), {"atol": 1e-3, "rtol": 1e-3}
        inputs = extractor([*waveforms.numpy()], sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        ours = network(waveforms, output_hidden_states=True)
        expected = theirs(**inputs, output_hidden_states=True)
    torch.testing.assert_close(ours.logits, expected.logits, **tolerance)
    assert len(ours.hidden_states) == len(expected.hidden_states) == network.depth + 1
    for one, other in zip(ours.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(one, other[:, : one.shape[1]], **tolerance)  # without padding


def test_hidden_states_are_returned_only_if_asked_for(make_network, kind, batch):
    network = make_network(kind).eval()
    assert network(batch["input_values"]).hidden_states is None
    output = network(batch["input_values"], batch["attention_mask"], output_hidden_states=True)
    frames = network.family.count_frames(network.config, batch["input_values"].shape[1])
    assert all(each.shape == (3, frames, 32) for each in output.hidden_states)


def test_unknown_arguments_are_errors(make_network, batch):
    network = make_network()
    with pytest.raises(TypeError):
        network(batch["input_values"], output_attention=True)
    states, _ = network.encode(batch["input_values"], None, 1)
    with pytest.raises(ValueError, match="output_hidden_states"):
        network(states, output_hidden_states=True)


def test_the_backbone_can_end_below_its_last_layer(make_network, kind):
    """Without the layers above and without the final norm, as a probe on a middle layer needs."""
    network = make_network(kind).eval()
    config = network.config.__class__.from_dict(network.config.to_dict())
    network.family.truncate(config, 2)
    config.ends_early = True
    shorter = type(network)._from_config(config).eval()
    missing = shorter.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert missing == []
    waveforms = torch.randn(1, 8_000)
    with torch.no_grad():
        states, _ = shorter.run(waveforms, None)
        expected = network(waveforms, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(states[-1], expected)


def test_a_linear_head_on_standardised_features(make_network, batch):
    """Without a projector, and with the scaler that a fitted head brings."""
    network = make_network().eval()
    config = network.config.__class__.from_dict(network.config.to_dict())
    config.use_projector, config.standardize = False, True
    linear = type(network)._from_config(config).eval()
    assert linear.classifier.in_features == 32
    states, mask = linear.run(batch["input_values"], batch["attention_mask"])
    pooled = linear.pool(states[-1][:, :, None], mask)
    linear.scaler.mean.fill_(0.5)
    linear.scaler.scale.fill_(2.0)
    expected = nn.functional.linear(
        (pooled - 0.5) / 2, linear.classifier.weight, linear.classifier.bias
    )
    logits = linear(batch["input_values"], batch["attention_mask"]).logits
    torch.testing.assert_close(logits, expected)


def test_half_precision_weights_give_finite_logits(make_network, kind, batch):
    network = make_network(kind).to(torch.bfloat16).eval()
    values = batch["input_values"].to(torch.bfloat16)
    logits = predict(network, batch | {"input_values": values})
    assert logits.isfinite().all()


@pytest.mark.parametrize("seconds", [0.001, 0.25])
def test_a_short_clip_alone_trains_with_specaugment(make_network, kind, clip, seconds):
    network = make_network(kind, mask_time_prob=0.5, mask_feature_prob=0.5)
    batch = collate([clip(seconds, 0)])
    logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
    logits.sum().backward()
    assert logits.isfinite().all()


def test_only_frames_above_the_floor_are_pooled(make_network, kind):
    """The quiet half of a clip is attended to, and does not count in the mean."""
    network = make_network(kind, pooling_floor_db=-30.0, projector=False).eval()
    loud = np.random.default_rng(0).normal(0, 1, 8000).astype(np.float32)
    waveform = torch.from_numpy(np.concatenate([loud, 1e-3 * loud]))[None]
    states, mask = network.run(waveform, torch.ones_like(waveform, dtype=torch.long))
    kept, frames = int((mask == 1).sum()), mask.shape[1]
    assert kept == pytest.approx(frames / 2, abs=2)
    assert (mask[0, :kept] == 1).all()
    pooled = network.embed_utterances(waveform)
    torch.testing.assert_close(pooled, states[-1][mask == 1].mean(0)[None])
