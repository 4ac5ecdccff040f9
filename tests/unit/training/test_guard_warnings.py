"""Warnings about networks that do not learn."""

import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ser.training.callbacks.guards import Guards, chance_level, searches_scale


@pytest.mark.parametrize("support", [[10, 10, 10, 10], [97, 1, 1, 1], [5, 0, 15]])
def test_chance_is_the_loss_and_the_uar_of_the_class_frequencies(support):
    labels = torch.repeat_interleave(torch.arange(len(support)), torch.tensor(support))
    frequencies = torch.tensor(support) / sum(support)
    logits = frequencies.clamp(min=1e-9).log().expand(len(labels), -1)
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    chance = chance_level(support)
    assert chance.loss == pytest.approx(expected, abs=1e-5)
    assert chance.uar == 1 / sum(count > 0 for count in support)


def validate(guards: Guards, loss: float, uar: float, confusion: list[list[int]]) -> None:
    trainer: Any = SimpleNamespace(callback_metrics={"val/loss": loss}, sanity_checking=False)
    config = SimpleNamespace(lr=1e-3, warmup_ratio=0.1)
    module: Any = SimpleNamespace(
        confusion=confusion, val_uar=uar, config=config, labels=["angry", "sad"]
    )
    guards.on_validation_end(trainer, module)


CONFUSION = [[162, 18], [18, 2]]  # 180 and 20 utterances: entropy 0.325, ln(2) = 0.693
ENTROPY = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))


@pytest.mark.parametrize(
    ("loss", "uar", "warned"),
    [
        (ENTROPY, 0.5, True),  # the class frequencies only, far below ln(2)
        (0.69, 0.5, True),
        (ENTROPY * 0.9, 0.5, False),  # better than the frequencies
        (2.0, 0.8, False),  # overfitted, but far from chance
    ],
)
def test_a_network_at_chance_is_warned_about_once(caplog, loss, uar, warned):
    """On unbalanced data the loss is below ln(classes) without anything being learned."""
    guards = Guards(patience=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            validate(guards, loss, uar, CONFUSION)
    assert len(caplog.records) == int(warned)


def test_a_good_validation_resets_the_count(caplog):
    guards = Guards(patience=2)
    for loss in (0.69, 0.1, 0.69):
        validate(guards, loss, 0.5, CONFUSION)
    assert caplog.records == []


def test_the_counts_are_part_of_a_checkpoint(caplog):
    guards, resumed = Guards(patience=2), Guards(patience=2)
    validate(guards, 0.69, 0.5, CONFUSION)
    resumed.load_state_dict(guards.state_dict())
    validate(resumed, 0.69, 0.5, CONFUSION)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("confusion", "warned"),
    [
        ([[0, 180], [0, 20]], True),
        ([[1, 179], [0, 20]], False),
        ([[0, 0], [0, 20]], False),  # there is one class only
    ],
)
def test_a_network_that_predicts_one_class_is_warned_about_once(caplog, confusion, warned):
    guards = Guards(patience=2)
    for _ in range(4):
        validate(guards, 0.1, 0.5, confusion)
    assert len(caplog.records) == int(warned)
    assert ("sad" in caplog.text) == warned


@pytest.mark.parametrize(("scale", "searches"), [(65536.0, True), (0.5, False), (None, False)])
def test_skipped_steps_are_normal_while_the_loss_scale_is_searched(scale, searches):
    scaler = None if scale is None else SimpleNamespace(get_scale=lambda: scale)
    assert searches_scale(SimpleNamespace(scaler=scaler)) == searches
