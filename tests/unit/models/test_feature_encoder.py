"""The convolutional feature encoder: lengths, and norms that ignore padding."""

import pytest
import torch
from torch import nn

from ser.models import feature_encoder
from ser.models.feature_encoder import count_frames, normalize_each, normalize_together

LENGTHS = torch.tensor([50, 31, 7])


@pytest.mark.parametrize("samples", [400, 401, 16_000, 16_319, 16_320, 99_999])
def test_frames_are_counted_as_the_convolutions_make_them(make_network, samples):
    network = make_network()
    features = network.base_model.feature_extractor(torch.zeros(1, samples))
    assert count_frames(network.config, samples) == features.shape[-1]
    assert count_frames(network.config, torch.tensor([samples])).item() == features.shape[-1]


@pytest.mark.parametrize("normalize", [normalize_each, normalize_together])
@pytest.mark.parametrize("trained", [True, False])
def test_group_norms_are_the_plain_norm_of_each_clip(trained, normalize):
    norm = nn.GroupNorm(6, 6).requires_grad_(trained)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    frames = torch.randn(3, 6, 50, requires_grad=trained)
    found = normalize(norm, frames.transpose(1, 2), LENGTHS).transpose(1, 2)
    expected = [norm(frames[row : row + 1, :, :length])[0] for row, length in enumerate(LENGTHS)]
    for row, each in enumerate(expected):
        torch.testing.assert_close(found[row, :, : each.shape[-1]], each, atol=1e-5, rtol=1e-5)
    assert found.requires_grad == trained
    if trained:
        valid = torch.arange(50) < LENGTHS[:, None, None]
        [gradient] = torch.autograd.grad((found.square() * valid).sum(), frames, retain_graph=True)
        [wanted] = torch.autograd.grad(
            torch.stack([each.square().sum() for each in expected]).sum(), frames
        )
        torch.testing.assert_close(gradient * valid, wanted, atol=1e-4, rtol=1e-4)


def test_the_way_for_gpus_gives_the_same_features(make_network, kinds, monkeypatch):
    layers = make_network(kinds["wav2vec2-group"]).base_model.feature_extractor.conv_layers
    waveforms, lengths = torch.randn(2, 8000), torch.tensor([8000, 5000])
    found = []
    for readable in (True, False):
        monkeypatch.setattr(feature_encoder, "is_readable", lambda _, result=readable: result)
        features = feature_encoder.encode_features(layers, waveforms, lengths)
        found.append(features[1, : count_frames(make_network().config, 5000)])
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def encode(layers, waveforms, lengths, way, monkeypatch, **options):
    monkeypatch.setattr(feature_encoder, "prefers_products", lambda *_: way == "products")
    return feature_encoder.encode_features(layers, waveforms, lengths, **options)


CONVOLUTIONAL = [
    "wav2vec2-group",
    "wav2vec2-layer",
    "data2vec-audio",
    "wavlm-layer",
    "hubert-group",
]


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("padded", [True, False])
def test_products_give_the_features_of_transformers(kind, padded, make_network, kinds, monkeypatch):
    extractor = make_network(kinds[kind]).eval().base_model.feature_extractor
    clips = [torch.randn(1, length) for length in ((8000, 5003, 401) if padded else (5003,) * 3)]
    batch = torch.nn.utils.rnn.pad_sequence([clip[0] for clip in clips], batch_first=True)
    lengths = torch.tensor([clip.shape[1] for clip in clips]) if padded else None
    with torch.no_grad():
        found = encode(extractor.conv_layers, batch, lengths, "products", monkeypatch)
        for row, clip in zip(found, clips, strict=True):
            expected = extractor(clip)[0].T
            torch.testing.assert_close(row[: len(expected)], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("recompute", [True, False])
def test_products_give_the_gradients_of_convolutions(
    kind, recompute, make_network, kinds, monkeypatch
):
    layers = make_network(kinds[kind]).base_model.feature_extractor.conv_layers
    waveforms, lengths = torch.randn(2, 6000), torch.tensor([6000, 4321])
    last = count_frames(make_network().config, 4321)
    gradients = []
    for way in ("convolutions", "products"):
        found = encode(layers, waveforms, lengths, way, monkeypatch, recompute=recompute)
        loss = found[0].square().sum() + found[1, :last].sin().sum()
        gradients.append(torch.autograd.grad(loss, list(layers.parameters())))
    for expected, gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=1e-3)


def test_the_windows_of_a_product_are_not_copied(monkeypatch):
    features, conv, given = torch.randn(2, 100, 8), nn.Conv1d(8, 4, 3, stride=2), []
    linear = nn.functional.linear
    monkeypatch.setattr(
        nn.functional,
        "linear",
        lambda windows, *rest: given.append(windows) or linear(windows, *rest),
    )
    feature_encoder.multiply(conv, features)
    [windows] = given
    assert windows.shape == (2, 49, 24)
    assert windows.untyped_storage().data_ptr() == features.untyped_storage().data_ptr()


def test_trainable_encoders_use_convolutions_and_frozen_ones_products():
    assert not feature_encoder.prefers_products(torch.device("cpu"))
    with torch.no_grad():
        assert feature_encoder.prefers_products(torch.device("cpu"))
        assert not feature_encoder.prefers_products(torch.device("cuda"))


@pytest.mark.slow
def test_compiled_encoders_give_the_same_features(make_network):
    layers = make_network().base_model.feature_extractor.conv_layers
    waveforms, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])

    def encode(values):
        return feature_encoder.encode_features(layers, values, lengths)

    with torch.no_grad():
        compiled = torch.compile(encode, backend="aot_eager", dynamic=True)
        torch.testing.assert_close(compiled(waveforms), encode(waveforms), atol=1e-5, rtol=1e-5)
