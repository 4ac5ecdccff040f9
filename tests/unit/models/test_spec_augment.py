"""Spans of SpecAugment: how much is masked, and where."""

from types import SimpleNamespace

import pytest
import torch

from ser.models.spec_augment import draw_spans, mask_spans


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3, 0.7])
def test_the_mean_masked_share_is_the_asked_one(share):
    torch.manual_seed(0)
    lengths = torch.tensor([7, 25, 60, 199] * 500)
    masked = draw_spans(lengths, 199, share, 10).sum(1) / lengths
    for length in (7, 25, 60, 199):
        shares = masked[lengths == length]
        error = shares.std().item() / len(shares) ** 0.5
        assert shares.mean().item() == pytest.approx(share, abs=4 * error + 1e-6)


def runs(row: torch.Tensor) -> list[int]:
    """The lengths of the runs of ones in a row."""
    words = "".join(map(str, row.int().tolist())).split("0")
    return [len(word) for word in words if word]


def test_spans_are_disjoint_whole_and_within_the_valid_steps():
    lengths = torch.randint(1, 100, (300,))
    masks = draw_spans(lengths, 100, 0.4, 8)
    for row, length in zip(masks, lengths.tolist(), strict=True):
        assert not row[length:].any()
        assert all(run % min(8, length) == 0 for run in runs(row))
        assert abs(int(row.sum()) - 0.4 * length) <= 8


def test_spans_that_do_not_fit_are_left_out():
    """19 steps have room for one span of 10, although a share of 0.9 asks for two."""
    masks = draw_spans(torch.full((300,), 19), 40, 0.9, 10)
    assert not masks[:, 19:].any()
    assert masks.sum(1).unique().tolist() == [10]


def test_every_step_can_be_masked():
    masks = draw_spans(torch.full((3000,), 30), 30, 0.3, 10)
    shares = masks.float().mean(0)
    assert shares.min() > 0.01  # least at the ends
    assert shares.mean().item() == pytest.approx(0.3, abs=0.03)


def test_spans_depend_on_the_seed_of_torch_only():
    lengths = torch.full((8,), 50)
    torch.manual_seed(1)
    first, second = draw_spans(lengths, 50, 0.3, 5), draw_spans(lengths, 50, 0.3, 5)
    torch.manual_seed(1)
    assert torch.equal(draw_spans(lengths, 50, 0.3, 5), first)
    assert not torch.equal(first, second)


def settings(**options: float) -> SimpleNamespace:
    return SimpleNamespace(mask_time_length=4, mask_feature_length=2, **options)


def test_masked_time_steps_become_the_fill_value():
    frames, fill = torch.randn(6, 40, 8), torch.randn(8, requires_grad=True)
    changed = mask_spans(frames, torch.full((6,), 30), settings(mask_time_prob=0.4), fill)
    masked = (changed == fill).all(-1)
    assert torch.equal(changed[~masked], frames[~masked])
    assert 0.2 < masked[:, :30].float().mean() < 0.6
    assert not masked[:, 30:].any()
    changed.sum().backward()
    assert fill.grad is not None
    assert fill.grad.tolist() == [int(masked.sum())] * 8


def test_masked_features_become_zero_over_the_whole_clip():
    frames = torch.randn(6, 40, 50)
    changed = mask_spans(frames, [40] * 6, settings(mask_feature_prob=0.4), 0.0)
    masked = (changed == 0).all(1)
    assert torch.equal(changed != 0, ~masked[:, None].expand_as(frames))
    assert masked.float().mean().item() == pytest.approx(0.4, abs=0.05)


def test_more_features_than_there_are_cannot_be_masked():
    changed = mask_spans(torch.ones(50, 3, 2), [3] * 50, settings(mask_feature_prob=0.5), 0.0)
    assert changed.sum() > 0


def test_without_shares_nothing_changes():
    frames = torch.randn(2, 5, 3)
    assert mask_spans(frames, [5, 5], settings(), 0.0) is frames
