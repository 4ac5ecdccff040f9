"""Batches: which utterances, in which order, with which weight, on which device."""

from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest

from ser.data.sampler import BatchPlan, BucketBatchSampler, ResumePoint, Shard, balance

SECONDS = np.random.default_rng(0).gamma(9, 0.3, 1000)


def make_sampler(seconds: Any = SECONDS, shard: Shard | None = None, **options: Any):
    """A sampler of shuffled batches of 16; other options are those of the plan."""
    others = {name: options.pop(name) for name in ("start", "chances") if name in options}
    plan = BatchPlan(**({"batch_size": 16, "shuffle": True} | options))
    return BucketBatchSampler(seconds, plan, shard, **others)


def rows_of(sampler: BucketBatchSampler) -> list[list[int]]:
    return [[index.row for index in batch] for batch in sampler]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_utterance_is_in_one_batch_of_an_epoch(shuffle):
    sampler = make_sampler(shuffle=shuffle)
    batches = rows_of(sampler)
    assert sorted(chain(*batches)) == list(range(1000))
    assert len(sampler) == len(batches) == 63


def test_bucketing_pads_little_and_random_batches_much():
    def padding(groups: list[list[int]]) -> float:
        padded = sum(SECONDS[group].max() * len(group) for group in groups)
        return padded / SECONDS.sum() - 1

    rows = np.random.default_rng(1).permutation(1000)
    random = [part.tolist() for part in np.split(rows, range(16, 1000, 16))]
    assert padding(rows_of(make_sampler())) < 0.05 < 0.3 < padding(random)


def test_the_order_depends_on_seed_and_epoch_only():
    sampler = make_sampler(seed=3)
    first = rows_of(sampler)
    assert rows_of(sampler) == first == rows_of(make_sampler(seed=3))
    assert first != rows_of(make_sampler(seed=4))
    sampler.sampler.set_epoch(1)
    assert rows_of(sampler) != first


def test_an_index_carries_the_epoch_and_counts_repetitions():
    sampler = make_sampler(np.ones(4), batch_size=4, chances=np.array([1.0, 0, 0, 0]))
    sampler.set_epoch(5)
    [batch] = sampler
    assert [(index.row, index.epoch, index.repeat) for index in batch] == [
        (0, 5, repeat) for repeat in range(4)
    ]


@pytest.mark.parametrize("options", [{}, {"max_batch_seconds": 30.0}])
@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_together_see_the_larger_batch_of_one_device(world_size, options):
    shares = [
        rows_of(make_sampler(shard=Shard(rank, world_size), batch_size=12 // world_size, **options))
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    together = [sorted(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert sorted(chain(*together)) == list(range(1000))
    if not options:
        assert together == [sorted(batch) for batch in rows_of(make_sampler(batch_size=12))]


def test_a_batch_can_be_a_number_of_seconds():
    budget = rows_of(make_sampler(max_batch_seconds=30.0))
    padded = [SECONDS[batch].max() * len(batch) for batch in budget]
    assert max(padded) <= 30
    assert np.mean(padded) > 25
    assert SECONDS.sum() / sum(padded) > 0.85
    sampler, orders = make_sampler(batch_size=1, max_batch_seconds=30.0), []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(rows_of(sampler))
        assert len(orders[-1]) == len(sampler)
    assert {frozenset(batch) for batch in orders[0]} != {frozenset(batch) for batch in orders[1]}


def test_every_utterance_of_an_optimiser_step_counts_the_same():
    """17 utterances in batches of at most 4, two of which make a step, on two devices."""
    shares = [
        list(make_sampler(SECONDS[:17], Shard(rank, 2), batch_size=2, accumulate=2))
        for rank in (0, 1)
    ]
    for first in range(0, len(shares[0]), 2):
        step = [batch for share in shares for batch in share[first : first + 2]]
        # Lightning divides by the batches of a step, DDP by the number of devices.
        weights = [(len(batch), batch[0].weight / 4) for batch in step]
        assert sum(weight for _, weight in weights) == pytest.approx(1)
        assert len({round(weight / size, 9) for size, weight in weights}) == 1
        assert all(index.weight == batch[0].weight for batch in step for index in batch)


def test_an_utterance_that_several_devices_see_counts_once():
    """9 utterances, a batch of one for each of 8 devices: some have none of their own."""
    samplers = [make_sampler(SECONDS[:9], Shard(rank, 8), batch_size=1) for rank in range(8)]
    for index in range(len(samplers[0])):
        assert sum(sampler.weight(index) for sampler in samplers) / 8 == pytest.approx(1)


def test_the_last_step_of_a_limited_epoch_is_a_mean_too():
    sampler = make_sampler(batch_size=4, accumulate=4, limit=6)
    assert [sampler.weight(index) for index in (4, 5)] == [2, 2]


@pytest.mark.parametrize("limit", [1, 5, 6])
def test_an_epoch_ends_at_its_limit(limit):
    """Loader processes read ahead, beyond what the trainer uses."""
    sampler = make_sampler(batch_size=4, accumulate=2, limit=limit)
    assert rows_of(sampler) == rows_of(make_sampler(batch_size=4))[:limit]
    assert len(sampler) == 250  # of which the trainer takes its share


def test_an_order_can_start_in_the_middle():
    whole = make_sampler(seed=1)
    rest = make_sampler(seed=1, start=ResumePoint(epoch=2, batches=5))
    whole.set_epoch(2)
    rest.set_epoch(0)  # as Lightning does before it knows the epoch
    assert list(rest) == list(whole)[5:]
    assert len(rest) == len(whole)
    whole.set_epoch(3)
    rest.set_epoch(3)
    assert list(rest) == list(whole)


def test_evaluation_batches_have_similar_lengths_in_a_fixed_random_order():
    sampler = make_sampler(shuffle=False)
    first = rows_of(sampler)
    sampler.set_epoch(1)
    assert rows_of(sampler) == first
    ranges = [(min(SECONDS[rows]), max(SECONDS[rows])) for rows in first]
    assert ranges != sorted(ranges)  # so a limit on batches does not select short utterances
    assert all(one[1] <= other[0] for one, other in pairwise(sorted(ranges)))


def test_balanced_sampling_draws_every_label_equally_often():
    labels = [0] * 900 + [1] * 90 + [2] * 10
    chances = balance(labels)
    assert chances.sum() == pytest.approx(1)
    drawn = rows_of(make_sampler(chances=chances))
    rows = list(chain(*drawn))
    shares = np.bincount(np.array(labels)[rows]) / len(rows)
    assert len(rows) == 1000
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)
    assert drawn == rows_of(make_sampler(chances=chances))
    assert drawn != rows_of(make_sampler(chances=chances, seed=1))


@pytest.mark.parametrize("count", [3, 9, 64])
def test_devices_share_validation_and_count_every_utterance_once(count):
    counted, lengths = [], set()
    for rank in range(4):
        sampler = make_sampler(SECONDS[:count], Shard(rank, 4), batch_size=2, shuffle=False)
        batches = list(sampler)
        lengths.add(len(batches))
        counted += [index.row for batch in batches for index in batch if index.weight]
    assert sorted(counted) == list(range(count))
    assert len(lengths) == 1  # a device with fewer batches would leave the others waiting
