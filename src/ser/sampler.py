"""Length-bucketed batches, shared out over devices, in an order of seed and epoch alone."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from torch.utils.data import Sampler

T = TypeVar("T")
POOL_BATCHES = 50  # batches whose utterances are sorted by length together
BUCKET_BATCHES = 8  # batches of one range of lengths, where a batch is so many seconds


@dataclass(frozen=True)
class Place:
    """A place in training: `batches` of epoch `epoch` are done."""

    epoch: int = 0
    batches: int = 0


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of utterances of like length; every utterance is in one batch of an epoch.

    With `batch_size`, shuffled rows are cut into pools of 50 batches, sorted by length inside a
    pool and cut into batches, after the bucketing of Khomenko et al. (2016): padding is under 5 %
    where random batches have over 30 % (a test holds both). With `max_batch_seconds`, padding
    included, a batch has as many utterances of one range of lengths as fit. Without `shuffle`
    rows are sorted by length, and all epochs are the same. Batches come in a drawn order in
    any case, so that the first ones are no shorter than others.

    `batch_size` and `max_batch_seconds` are of one device. Over several, each batch is dealt out
    utterance by utterance: all devices have the same number of batches of like length, and
    together they see what one device with the larger batch would. With `chances` an epoch of
    shuffled batches draws as many rows, each by its chance, with replacement.
    """

    def __init__(
        self,
        seconds: Sequence[float] | np.ndarray,
        batch_size: int,
        *,
        max_batch_seconds: float | None = None,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: Place | None = None,
        chances: np.ndarray | None = None,
    ) -> None:
        self.chances = chances
        self.seconds = np.asarray(seconds)
        self.batch_size, self.max_batch_seconds = batch_size, max_batch_seconds
        self.shuffle, self.seed = shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.start = start or Place()
        self.epoch = self.start.epoch

    @property
    def sampler(self) -> "BucketBatchSampler":
        """Lightning 2.6 looks for `set_epoch` on `batch_sampler.sampler` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning 2.6 first says 0, even to a run that is resumed: never go back behind that."""
        self.epoch = max(epoch, self.start.epoch)

    def __len__(self) -> int:
        return sum(parts for _, parts in self._groups)

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.share(self.global_batches(self.epoch))

    def share(self, batches: Sequence[list[T]]) -> Iterator[list[T]]:
        """What of the batches of this epoch is for this device, and still to be done."""
        skipped = self.start.batches if self.epoch == self.start.epoch else 0
        for batch in batches[skipped:]:
            # Where there are fewer utterances than devices, some see one twice.
            yield batch[self.rank :: self.world_size] or batch[:1]

    def weight(self, index: int, accumulated: int = 1, limit: float = math.inf) -> float:
        """What batch `index` of this epoch counts among those that are averaged for one step.

        A step is the mean over its utterances, however its batches differ in size; the epoch ends
        at batch `limit`. What another device sees too counts nothing here.
        """
        batches = self.global_batches(self.epoch)
        first = index - index % accumulated
        together = sum(
            map(len, batches[first : int(min(first + accumulated, limit, len(batches)))])
        )
        own = len(batches[index][self.rank :: self.world_size])
        return own * accumulated * self.world_size / together

    def global_batches(self, epoch: int) -> list[list[int]]:
        """The batches of all devices together."""
        if self._made is None or self._made[0] != epoch:
            drawn = epoch if self.shuffle else 0
            self._made = epoch, self._make(np.random.default_rng((self.seed, drawn)))
        return self._made[1]

    _made: tuple[int, list[list[int]]] | None = None

    def _make(self, generator: np.random.Generator) -> list[list[int]]:
        rows = np.arange(len(self.seconds))
        if self.shuffle and self.max_batch_seconds is None:
            generator.shuffle(rows)
            if self.chances is not None:
                rows = generator.choice(len(rows), len(rows), p=self.chances)
        else:
            rows = rows[np.argsort(self.seconds, kind="stable")]
        batches, first = [], 0
        for size, parts in self._groups:
            group = rows[first : first + size]
            first += size
            if self.shuffle and self.max_batch_seconds is not None:
                generator.shuffle(group)
            else:
                group = group[np.argsort(self.seconds[group], kind="stable")]
            batches.extend(part.tolist() for part in np.array_split(group, parts))
        return [batches[index] for index in generator.permutation(len(batches))]

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """How many utterances are grouped together, and into how many batches they are cut."""
        if self.max_batch_seconds is not None:
            return list(self._ranges(np.sort(self.seconds), self.max_batch_seconds))
        batch = self.batch_size * self.world_size
        total = len(self.seconds)
        pool = batch * POOL_BATCHES if self.shuffle else total
        sizes = [min(pool, total - first) for first in range(0, total, max(pool, 1))]
        return [(size, -(-size // batch)) for size in sizes]

    def _ranges(self, seconds: np.ndarray, budget: float) -> Iterator[tuple[int, int]]:
        """Ranges of sorted lengths, long ones first found: their longest says how many fit."""
        ranges, end = [], len(seconds)
        while end > 0:
            fitting = max(1, int(budget / seconds[end - 1])) * self.world_size
            size = min(end, fitting * (BUCKET_BATCHES if self.shuffle else 1))
            ranges.append((size, -(-size // fitting)))
            end -= size
        return reversed(ranges)
