"""Length-bucketed batches, divided among devices, in an order that depends on seed and epoch."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

POOL_BATCHES = 50  # batches whose utterances are sorted by length together
BUCKET_BATCHES = 8  # batches of one range of lengths, if a batch is a number of seconds


class SampleIndex(NamedTuple):
    """A row of a part, the epoch, and how often the row was drawn before in that epoch.

    `weight` is that of the whole batch in its optimiser step.
    """

    row: int
    epoch: int = 0
    repeat: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class ResumePoint:
    """A place in training: `batches` of epoch `epoch` are done."""

    epoch: int = 0
    batches: int = 0


@dataclass(frozen=True)
class BatchPlan:
    """How many utterances or seconds are in a batch, and in what order they come.

    `batch_size` and `max_batch_seconds` are per device. `accumulate` batches make an optimiser
    step, and an epoch ends after `limit` batches.
    """

    batch_size: int
    max_batch_seconds: float | None = None
    shuffle: bool = False
    seed: int = 0
    accumulate: int = 1
    limit: float = math.inf


@dataclass(frozen=True)
class Shard:
    """Which device this is, and of how many."""

    rank: int = 0
    world_size: int = 1


class BucketBatchSampler(Sampler[list[SampleIndex]]):
    """Batches of utterances of similar length; every utterance is in one batch of an epoch.

    With `batch_size`, shuffled rows are cut into pools of 50 batches, sorted by length within a
    pool and cut into batches (bucketing, Khomenko et al. 2016): padding is below 5% of the
    samples, compared with over 30% in random batches. With `max_batch_seconds`, padding
    included, a batch has as many utterances of one range of lengths as fit. Without `shuffle`
    rows are sorted by length, and all epochs are equal. Batches come in a random order in any
    case, so that the first ones are not shorter than others.

    With several devices each batch is divided utterance by utterance: all devices have the same
    number of batches of similar length, and together they see what one device with the larger
    batch would see. With `chances`, an epoch of shuffled batches draws as many rows as there are,
    each with its probability, with replacement.
    """

    def __init__(
        self,
        seconds: Sequence[float] | np.ndarray,
        plan: BatchPlan,
        shard: Shard | None = None,
        start: ResumePoint | None = None,
        chances: np.ndarray | None = None,
    ) -> None:
        self.seconds = np.asarray(seconds)
        self.plan, self.shard, self.chances = plan, shard or Shard(), chances
        self.start = start or ResumePoint()
        self.epoch = self.start.epoch
        self._made: tuple[int, list[list[int]]] | None = None  # an epoch and its batches

    @property
    def sampler(self) -> "BucketBatchSampler":
        """Lightning 2.6 looks for `set_epoch` on `batch_sampler.sampler` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning 2.6 first sets 0, also in a resumed run: never go back before the start."""
        self.epoch = max(epoch, self.start.epoch)

    def __len__(self) -> int:
        return sum(parts for _, parts in self._groups)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        batches = self.global_batches(self.epoch)
        skipped = self.start.batches if self.epoch == self.start.epoch else 0
        drawn: Counter[int] = Counter()
        for number, batch in enumerate(batches):
            if number >= self.plan.limit:
                return  # loader processes would read further
            repeats = []
            for row in batch:
                repeats.append(drawn[row])
                drawn[row] += 1
            if number < skipped:
                continue
            weight = self.weight(number)
            whole = [
                SampleIndex(row, self.epoch, repeat, weight)
                for row, repeat in zip(batch, repeats, strict=True)
            ]
            # With fewer utterances than devices, some devices see one twice.
            yield whole[self.shard.rank :: self.shard.world_size] or whole[:1]

    def weight(self, index: int) -> float:
        """The weight of batch `index` among those that are averaged for one optimiser step.

        A step is the mean over its utterances, even if its batches differ in size. An utterance
        that another device sees too counts nothing here.
        """
        batches, plan = self.global_batches(self.epoch), self.plan
        first = index - index % plan.accumulate
        last = int(min(first + plan.accumulate, plan.limit, len(batches)))
        together = sum(map(len, batches[first:last]))
        own = len(batches[index][self.shard.rank :: self.shard.world_size])
        return own * plan.accumulate * self.shard.world_size / together

    def global_batches(self, epoch: int) -> list[list[int]]:
        """The batches of all devices together."""
        if self._made is None or self._made[0] != epoch:
            drawn = epoch if self.plan.shuffle else 0
            self._made = epoch, self._make(np.random.default_rng((self.plan.seed, drawn)))
        return self._made[1]

    def _make(self, generator: np.random.Generator) -> list[list[int]]:
        """The batches of an epoch, in the order in which they are used."""
        rows, plan = np.arange(len(self.seconds)), self.plan
        if plan.shuffle and plan.max_batch_seconds is None:
            generator.shuffle(rows)
            if self.chances is not None:
                rows = generator.choice(len(rows), len(rows), p=self.chances)
        else:
            rows = rows[np.argsort(self.seconds, kind="stable")]
        batches, first = [], 0
        for size, parts in self._groups:
            group = rows[first : first + size]
            first += size
            if plan.shuffle and plan.max_batch_seconds is not None:
                generator.shuffle(group)
            else:
                group = group[np.argsort(self.seconds[group], kind="stable")]
            batches.extend(part.tolist() for part in np.array_split(group, parts))
        return [batches[index] for index in generator.permutation(len(batches))]

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """How many utterances are grouped together, and into how many batches they are cut."""
        if self.plan.max_batch_seconds is not None:
            return list(self._ranges(np.sort(self.seconds), self.plan.max_batch_seconds))
        batch = self.plan.batch_size * self.shard.world_size
        total = len(self.seconds)
        pool = batch * POOL_BATCHES if self.plan.shuffle else total
        sizes = [min(pool, total - first) for first in range(0, total, max(pool, 1))]
        return [(size, -(-size // batch)) for size in sizes]

    def _ranges(self, seconds: np.ndarray, budget: float) -> Iterator[tuple[int, int]]:
        """Ranges of sorted lengths, from the longest down: the longest says how many fit."""
        ranges, end = [], len(seconds)
        while end > 0:
            fitting = max(1, int(budget / seconds[end - 1])) * self.shard.world_size
            size = min(end, fitting * (BUCKET_BATCHES if self.plan.shuffle else 1))
            ranges.append((size, -(-size // fitting)))
            end -= size
        return reversed(ranges)


def balance(labels: Sequence[int]) -> np.ndarray:
    """The probability of each row if every label that occurs is drawn equally often."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / counts[places] / len(counts)
