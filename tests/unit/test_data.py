from collections import Counter
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from ser.audio import SAMPLE_RATE
from ser.batch import GRID, normalise
from ser.data import EmotionDataModule, Example, balance, collate
from ser.data_config import Padding
from ser.labels import LABELS
from ser.model import build_feature_extractor
from ser.preparation import prepare
from ser.sampler import BucketBatchSampler, Place

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


@pytest.mark.parametrize("options", [{}, {"max_batch_seconds": 30.0}])
@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_every_batch_out(world_size, options):
    """Together they see what one device with the larger batch would."""
    shares = [
        batches(batch_size=12 // world_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    together = [sorted(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert sorted(chain(*together)) == list(range(1000))
    if not options:
        assert together == [sorted(batch) for batch in batches(batch_size=12)]


def test_a_batch_may_be_a_budget_of_seconds():
    budget = batches(max_batch_seconds=30.0)
    padded = [SECONDS[batch].max() * len(batch) for batch in budget]
    assert max(padded) <= 30
    assert np.mean(padded) > 25
    assert SECONDS.sum() / sum(padded) > 0.85
    sampler = BucketBatchSampler(SECONDS, 1, max_batch_seconds=30.0, shuffle=True)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert len(orders[-1]) == len(sampler)
    assert {frozenset(batch) for batch in orders[0]} != {frozenset(batch) for batch in orders[1]}


def test_the_batches_of_a_step_count_by_their_utterances():
    """17 utterances in batches of at most 4, two of which make a step, on two devices."""
    samplers = [
        BucketBatchSampler(SECONDS[:17], 2, shuffle=True, rank=rank, world_size=2)
        for rank in (0, 1)
    ]
    shares = [list(sampler) for sampler in samplers]
    for first in range(0, len(samplers[0]), 2):
        step = [
            (len(batch), sampler.weight(first + place, 2) / 4)
            for sampler, share in zip(samplers, shares, strict=True)
            for place, batch in enumerate(share[first : first + 2])
        ]
        assert sum(weight for _, weight in step) == pytest.approx(1)
        assert len({round(weight / size, 9) for size, weight in step}) == 1


def test_an_utterance_that_several_devices_see_counts_once():
    """9 utterances, a batch of one for each of 8 devices: some have none of their own."""
    samplers = [
        BucketBatchSampler(SECONDS[:9], 1, shuffle=True, rank=rank, world_size=8)
        for rank in range(8)
    ]
    for index in range(len(samplers[0])):
        assert sum(sampler.weight(index) for sampler in samplers) / 8 == pytest.approx(1)


def test_the_last_step_of_a_limited_epoch_is_a_mean_too():
    sampler = BucketBatchSampler(SECONDS, 4, shuffle=True)
    assert [sampler.weight(index, 4, limit=6) for index in (4, 5)] == [2, 2]


def test_an_order_can_start_in_the_middle():
    whole = BucketBatchSampler(SECONDS, 16, shuffle=True, seed=1)
    rest = BucketBatchSampler(SECONDS, 16, shuffle=True, seed=1, start=Place(epoch=2, batches=5))
    whole.set_epoch(2)
    rest.set_epoch(0)  # as Lightning does before it knows of the epoch
    assert list(rest) == list(whole)[5:]
    assert len(rest) == len(whole)
    whole.set_epoch(3)
    rest.set_epoch(3)
    assert list(rest) == list(whole)


def examples(*lengths: int) -> list[Example]:
    return [Example(np.ones(length, np.float32), 3, row) for row, length in enumerate(lengths)]


def test_a_batch_is_padded_on_the_right_and_masked():
    batch = collate(examples(5000, 6000), 4000)
    assert batch["input_values"].shape == (2, 6400)  # a multiple of 0.1 s
    assert batch["attention_mask"].sum(1).tolist() == [5000, 6000]
    assert batch["input_values"][0, 5000:].abs().sum() == 0
    assert batch["input_values"][0, :5000].min() == 1
    assert batch["labels"].tolist() == [3, 3]
    assert batch["rows"].tolist() == [0, 1]


def test_a_clip_shorter_than_the_receptive_field_is_padded_to_a_quarter_second():
    batch = collate(examples(10), 4000)
    assert batch["input_values"].shape == (1, 4800)  # on the grid of 0.1 s
    assert batch["attention_mask"].sum() == 4000


def test_few_lengths_of_batches_occur_and_little_is_padded_for_it(module):
    batches = [batch["attention_mask"] for batch in module("data.batch_size=4").val_dataloader()]
    lengths = {mask.shape[1] for mask in batches}
    assert all(length % GRID == 0 for length in lengths)
    assert len(lengths) < len(batches) / 2
    assert sum(int(mask.sum()) for mask in batches) > 0.9 * sum(map(torch.numel, batches))


def test_a_budget_of_seconds_holds_with_all_padding(module):
    data = module("data.max_batch_seconds=10")
    for batch in data.train_dataloader():
        assert batch["attention_mask"].numel() <= 10 * SAMPLE_RATE


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


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_loader_processes_give_the_same_batches_in_every_epoch(module, start_method):
    alone, helped = module().train_dataloader(), module("data.num_workers=2").train_dataloader()
    helped.multiprocessing_context = start_method
    for epoch in range(2):  # the processes of the first epoch serve the second too
        for loader in (alone, helped):
            loader.batch_sampler.set_epoch(epoch)
        for one, other in zip(alone, helped, strict=True):
            assert torch.equal(one["input_values"], other["input_values"])
            assert torch.equal(one["rows"], other["rows"])


def test_a_second_preparation_finds_everything_in_the_cache(quick_config, tmp_path):
    config = quick_config(tmp_path)
    first = prepare(config.data, config.split)
    before = sorted(Path(config.data.cache_dir).rglob("*.pcm"))
    assert prepare(config.data, config.split).fingerprint == first.fingerprint
    assert sorted(Path(config.data.cache_dir).rglob("*.pcm")) == before


def test_evaluation_batches_are_of_like_length_in_a_drawn_order_that_stays():
    sampler = BucketBatchSampler(SECONDS, 16, shuffle=False)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) == first
    ranges = [(min(SECONDS[rows]), max(SECONDS[rows])) for rows in first]
    assert ranges != sorted(ranges)  # so a limit on batches is none on lengths
    assert all(one[1] <= other[0] for one, other in pairwise(sorted(ranges)))


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


def test_balanced_sampling_draws_every_label_as_often():
    labels = [0] * 900 + [1] * 90 + [2] * 10
    chances = balance(labels)
    assert chances.sum() == pytest.approx(1)
    drawn = [row for batch in batches(chances=chances) for row in batch]
    shares = np.bincount(np.array(labels)[drawn]) / len(drawn)
    assert len(drawn) == 1000
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)
    assert batches(chances=chances) == batches(chances=chances) != batches(chances=chances, seed=1)


def test_balanced_sampling_is_for_training_only(module):
    data = module("data.sampling=balanced", "split=stratified")
    count = np.bincount([LABELS.index(e) for e in data.manifest.part("train")["emotion"]])
    labels = torch.cat([batch["labels"] for batch in data.train_dataloader()])
    drawn = np.bincount(labels, minlength=8) / len(labels)
    assert count.std() / count.mean() > 0.2 > drawn.std() / drawn.mean()
    rows = torch.cat([batch["rows"] for batch in data.val_dataloader()])
    assert len(set(rows.tolist())) == len(data.manifest.part("val"))


def values(data: EmotionDataModule, epoch: int) -> dict[int, torch.Tensor]:
    loader = data.train_dataloader()
    cast(Any, loader.batch_sampler).sampler.set_epoch(epoch)
    return {
        row: value[mask.bool()]
        for batch in loader
        for row, value, mask in zip(
            batch["rows"].tolist(), batch["input_values"], batch["attention_mask"], strict=True
        )
    }


def test_augmentation_differs_by_epoch_and_not_by_worker(module):
    noisy = ["data.augment.noise=1"]
    first = values(module(*noisy), 0)
    helped = values(module(*noisy, "data.num_workers=2"), 0)
    plain, second = values(module(), 0), values(module(*noisy), 1)
    assert all(torch.equal(first[row], helped[row]) for row in first)
    assert not any(torch.equal(first[row], plain[row]) for row in first)
    assert not any(torch.equal(first[row], second[row]) for row in first)


def test_persistent_workers_learn_of_the_epoch(module):
    loader = module("data.augment.noise=1", "data.num_workers=1").train_dataloader()
    seen = []
    for epoch in (0, 1):
        cast(Any, loader.batch_sampler).sampler.set_epoch(epoch)
        batches = list(loader)
        seen.append({int(b["rows"][0]): b["input_values"][0] for b in batches})
    shared = set(seen[0]) & set(seen[1])
    assert shared
    assert not any(torch.equal(seen[0][row][:4000], seen[1][row][:4000]) for row in shared)


def test_only_training_is_augmented(module):
    noisy, plain = module("data.augment.noise=1"), module()
    for one, other in zip(noisy.val_dataloader(), plain.val_dataloader(), strict=True):
        assert torch.equal(one["input_values"], other["input_values"])


@pytest.mark.parametrize("normalised", [True, False])
def test_waveforms_are_normalised_as_the_feature_extractor_does(normalised):
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalised)
    generator = np.random.default_rng(0)
    for scale, offset in ((0.1, 0.0), (1e-4, 0.3), (0.5, -0.2)):
        waveform = generator.normal(offset, scale, 16_000).astype(np.float32)
        before = waveform.copy()
        expected = extractor(waveform, sampling_rate=SAMPLE_RATE).input_values[0]
        np.testing.assert_allclose(normalise(waveform, extractor), expected, atol=1e-4)
        np.testing.assert_array_equal(waveform, before)


def test_an_utterance_drawn_again_is_changed_otherwise(module):
    """Else the emotions that need it most would repeat the same few waveforms."""
    data = module("data.sampling=balanced", "data.augment.noise=1")
    heard: dict[int, set[float]] = {}
    for batch in data.train_dataloader():
        for row, samples in zip(batch["rows"].tolist(), batch["input_values"], strict=True):
            heard.setdefault(row, set()).add(float(samples.abs().sum()))
    drawn = Counter(row for rows in data.train_dataloader().batch_sampler for row, *_ in rows)
    assert max(drawn.values()) > 1
    assert all(len(heard[row]) == times for row, times in drawn.items())


def test_a_slower_utterance_still_fits_its_batch(module):
    data = module("data.augment.speed=1", "data.max_batch_seconds=20")
    assert all(batch["input_values"].numel() <= 20 * 16_000 for batch in data.train_dataloader())
