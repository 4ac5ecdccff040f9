from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from ser.audio import SAMPLE_RATE
from ser.data import BucketBatchSampler, EmotionDataModule, Example, collate
from ser.data_config import Padding
from ser.labels import LABELS
from ser.model import build_feature_extractor
from ser.preparation import prepare

SECONDS = np.random.default_rng(0).gamma(9, 0.3, 1000)


def batches(**options) -> list[list[int]]:
    defaults = {"batch_size": 16, "shuffle": True, "seed": 0}
    return list(BucketBatchSampler(SECONDS, **(defaults | options)))


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_utterance_is_in_one_batch_of_an_epoch(shuffle):
    rows = [row for batch in batches(shuffle=shuffle) for row in batch]
    assert sorted(rows) == list(range(1000))
    assert (
        len(BucketBatchSampler(SECONDS, 16, shuffle=shuffle)) == len(batches(shuffle=shuffle)) == 63
    )


def test_bucketing_wastes_little_and_random_batches_much():
    def waste(groups: list[list[int]]) -> float:
        padded = sum(SECONDS[group].max() * len(group) for group in groups)
        return padded / SECONDS.sum() - 1

    rows = np.random.default_rng(1).permutation(1000)
    assert (
        waste(batches())
        < 0.05
        < 0.3
        < waste([part.tolist() for part in np.split(rows, range(16, 1000, 16))])
    )


def test_the_order_depends_on_seed_and_epoch_alone():
    sampler = BucketBatchSampler(SECONDS, 16, shuffle=True, seed=3)
    first = list(sampler)
    assert list(sampler) == first == batches(seed=3) != batches(seed=4)
    sampler.sampler.set_epoch(1)
    assert list(sampler) != first


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_the_batches_evenly(world_size):
    shares = [batches(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    rows = [row for share in shares for batch in share for row in batch]
    assert set(rows) == set(range(1000))
    assert len(rows) < 1000 + 16 * world_size


def examples(*lengths: int) -> list[Example]:
    return [Example(np.ones(length, np.float32), 3, row) for row, length in enumerate(lengths)]


def test_a_batch_is_padded_on_the_right_and_masked():
    batch = collate(examples(5000, 6000), 4000)
    assert batch["input_values"].shape == (2, 6000)
    assert batch["attention_mask"].sum(1).tolist() == [5000, 6000]
    assert batch["input_values"][0, 5000:].abs().sum() == 0
    assert batch["input_values"][0, :5000].min() == 1
    assert batch["labels"].tolist() == [3, 3]
    assert batch["rows"].tolist() == [0, 1]


def test_a_clip_shorter_than_the_receptive_field_is_padded_to_a_quarter_second():
    batch = collate(examples(10), 4000)
    assert batch["input_values"].shape == (1, 4000)
    assert batch["attention_mask"].sum() == 4000


@pytest.fixture
def module(quick_config, tmp_path):
    def module(*overrides: str) -> EmotionDataModule:
        config = quick_config(tmp_path, *overrides)
        manifest = prepare(config.data, config.split)
        extractor = build_feature_extractor(config.model.backbone)
        return EmotionDataModule(manifest, config.data, extractor)

    return module


def test_uniform_padding_gives_every_batch_the_same_length(module):
    data = module("data.padding=uniform", "data.max_seconds=1.0")
    assert data.config.padding == Padding.uniform
    lengths = {batch["input_values"].shape[1] for batch in data.train_dataloader()}
    assert lengths == {SAMPLE_RATE}


def test_long_utterances_are_trimmed(module):
    batch = next(iter(module("data.max_seconds=0.5").val_dataloader()))
    assert batch["input_values"].shape[1] == SAMPLE_RATE // 2


def test_each_waveform_is_normalised_on_its_own(module):
    batch = next(iter(module().val_dataloader()))
    for values, mask in zip(batch["input_values"], batch["attention_mask"], strict=True):
        valid = values[mask.bool()]
        assert valid.mean().item() == pytest.approx(0, abs=1e-3)
        assert valid.std().item() == pytest.approx(1, abs=1e-2)


def test_a_batch_carries_the_labels_of_its_rows(module):
    data = module()
    part = data.manifest.part("val")
    for batch in data.val_dataloader():
        emotions = part["emotion"].iloc[batch["rows"].tolist()]
        assert [LABELS[label] for label in batch["labels"]] == emotions.tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_give_the_same_batches(module, workers):
    alone = list(module().val_dataloader())
    helped = list(module(f"data.num_workers={workers}").val_dataloader())
    assert all(
        torch.equal(one["input_values"], other["input_values"])
        for one, other in zip(alone, helped, strict=True)
    )


def test_a_second_preparation_finds_everything_in_the_cache(quick_config, tmp_path):
    config = quick_config(tmp_path)
    first = prepare(config.data, config.split)
    before = sorted(Path(config.data.cache_dir).rglob("*.pcm"))
    assert prepare(config.data, config.split).fingerprint == first.fingerprint
    assert sorted(Path(config.data.cache_dir).rglob("*.pcm")) == before


def test_evaluation_batches_are_sorted_by_length(module):
    data = module()
    seconds = [batch["attention_mask"].sum(1).max().item() for batch in data.val_dataloader()]
    assert all(one <= other for one, other in pairwise(seconds))


def order(data: EmotionDataModule) -> list[int]:
    return [row for batch in data.train_dataloader() for row in batch["rows"].tolist()]


def test_training_batches_are_shuffled_by_the_seed(module):
    data = module()
    other = EmotionDataModule(data.manifest, data.config, data.feature_extractor, seed=1)
    assert order(data) == order(data) != order(other)
    assert sorted(order(data)) == list(range(len(data.manifest.part("train"))))
    batches = [batch["attention_mask"].sum(1).max().item() for batch in data.train_dataloader()]
    assert batches != sorted(batches)


def test_devices_train_on_different_batches_and_validate_on_all(module):
    seen = []
    for rank in (0, 1):
        data = module()
        data.trainer = cast(Any, SimpleNamespace(global_rank=rank, world_size=2))
        seen.append(order(data))
        rows = [row for batch in data.val_dataloader() for row in batch["rows"].tolist()]
        assert sorted(rows) == list(range(len(data.manifest.part("val"))))
    assert not set(seen[0]) & set(seen[1])
    assert len(seen[0]) + len(seen[1]) == len(module().manifest.part("train"))
