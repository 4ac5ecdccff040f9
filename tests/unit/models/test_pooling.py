"""Poolings, compared with sums by hand."""

import pytest
import torch

from ser.models.families.base import PADDING, SILENCE, SPEECH
from ser.models.pooling import (
    AttentionPooling,
    AttentiveStatisticsPooling,
    FeatureScaler,
    MeanPooling,
    StatisticsPooling,
    mark_quiet,
)

FRAMES = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]])
MASK = torch.tensor([[True, True, False]])


def test_mean_pooling():
    assert MeanPooling(2)(FRAMES, MASK).tolist() == [[2.0, 4.0]]


def test_statistics_pooling():
    pooled = StatisticsPooling(2)(FRAMES, MASK)[0].tolist()
    assert pooled == pytest.approx([2.0, 4.0, 1.0, 2.0], abs=1e-5)


def test_attention_pooling_is_a_weighted_mean_of_the_valid_frames():
    torch.manual_seed(0)
    pooling = AttentionPooling(2)
    scores = pooling.score(torch.tanh(pooling.hidden(FRAMES)))[0, :2, 0]
    first, second = scores.exp().tolist()
    expected = (first * 1 + second * 3) / (first + second)
    assert pooling(FRAMES, MASK)[0, 0].item() == pytest.approx(expected)


def test_attentive_statistics_are_those_of_the_weighted_frames():
    torch.manual_seed(0)
    pooling = AttentiveStatisticsPooling(2)
    first, second = pooling.weigh(FRAMES, MASK)[0, :2, 0].tolist()
    assert first + second == pytest.approx(1)
    mean = first * 1 + second * 3
    deviation = (first * (1 - mean) ** 2 + second * (3 - mean) ** 2) ** 0.5
    pooled = pooling(FRAMES, MASK)[0]
    assert pooled[0].item() == pytest.approx(mean)
    assert pooled[2].item() == pytest.approx(deviation, abs=1e-4)


@pytest.mark.parametrize(
    "kind", [MeanPooling, AttentionPooling, StatisticsPooling, AttentiveStatisticsPooling]
)
def test_a_single_frame_has_finite_gradients(kind):
    frames = torch.randn(1, 1, 4, requires_grad=True)
    kind(4)(frames, torch.ones(1, 1, dtype=torch.bool)).sum().backward()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()


def test_a_scaler_changes_nothing_until_it_is_set():
    scaler, features = FeatureScaler(3), torch.randn(5, 3)
    assert torch.equal(scaler(features), features)
    scaler.mean.copy_(features.mean(0))
    scaler.scale.copy_(features.std(0))
    torch.testing.assert_close(scaler(features).mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaler(features).std(0), torch.ones(3))


def test_quiet_frames_become_silence():
    waveform = torch.cat([torch.full((10,), 1.0), torch.full((10,), 0.1), torch.full((10,), 0.01)])
    mask = torch.tensor([[SPEECH, SPEECH, SPEECH, SILENCE, PADDING]])
    expected = {-50: [1, 1, 1, 2, 0], -30: [1, 1, 2, 2, 0], -10: [1, 2, 2, 2, 0]}
    for floor, frames in expected.items():  # the levels are 0, -20 and -40 dB
        assert mark_quiet(waveform[None], mask, 10, floor)[0].tolist() == frames


def test_a_silent_waveform_keeps_all_frames():
    mask = torch.full((1, 3), SPEECH)
    assert torch.equal(mark_quiet(torch.zeros(1, 30), mask, 10, -30), mask)
