"""EmotionDataModule: from a split manifest to batches."""

import atexit
import logging
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from lightning import LightningDataModule, Trainer
from lightning.fabric.utilities.seed import pl_worker_init_function
from torch.utils.data import DataLoader

from ser.audio.cache import AudioCache
from ser.audio.recording import MIN_SECONDS, SAMPLE_RATE
from ser.config.data import DataConfig, Padding, Sampling
from ser.data.augment import Augmentation
from ser.data.dataset import Batch, HiddenStateDataset, UtteranceDataset, collate
from ser.data.sampler import BatchPlan, BucketBatchSampler, ResumePoint, Shard, balance
from ser.errors import UserError, require
from ser.models.hidden_states import Batches, CacheKey, Stored, make_key
from ser.models.inputs import GRID
from ser.models.network import EmotionNetwork
from ser.models.state_cache import HiddenStateCache, StateReader, fill
from ser.preparation.manifest import Manifest
from ser.system.signals import STOP_SIGNALS

log = logging.getLogger(__name__)
MAX_WORKERS = 4  # augmentation takes up to 20 ms per clip, reading the cache 0.1 ms
# Loader processes put sockets into TMPDIR/pymp-*/listener-*; their paths have at most 107 bytes.
LONGEST_TMPDIR = 70
GRACE = 1.0  # seconds that a daemon process gets to end
TRAINED = ("train", "val")  # parts that are read in every epoch


class EmotionDataModule(LightningDataModule):
    """The loaders of the three parts of a manifest.

    `normalizes` says whether the backbone needs waveforms of zero mean and unit variance. Training
    begins at `start`. Works without a Trainer too: call `train_dataloader()` and iterate.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: DataConfig,
        cache: AudioCache | None = None,
        *,
        normalizes: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.manifest, self.config, self.seed = manifest, config, seed
        self.cache = cache or AudioCache(Path(config.cache_dir))
        self.normalizes = normalizes
        self.states: StateReader | None = None  # read by training and validation if set
        self.start = ResumePoint()
        self.context: Callable[[], AbstractContextManager[Any]] = nullcontext  # sets the precision

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val", divided=True)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def cache_hidden_states(self, network: EmotionNetwork, trainer: Trainer) -> None:
        """Compute what lies below the first trained layer, so that training starts from there."""
        self.states = self.compute_states(network, trainer, TRAINED)
        log.info("Training starts from hidden states in %s", self.states.folder)

    def compute_states(
        self,
        network: EmotionNetwork,
        trainer: Trainer,
        parts: Sequence[str],
        stored: Stored | None = None,
    ) -> HiddenStateCache:
        """The states of some parts, computed on the trainer's device and in its precision.

        `stored` is what is kept; by default the least that training needs.
        """
        precision = str(trainer.precision)
        key = make_key(
            network,
            self.config.max_seconds,
            precision,
            normalizes=self.normalizes,
            stored=stored,
        )
        network.to(trainer.strategy.root_device)  # pyright: ignore[reportArgumentType]
        self.context = trainer.precision_plugin.forward_context
        return self.store_states(network, key, parts)

    def store_states(
        self, network: EmotionNetwork, key: CacheKey, parts: Sequence[str]
    ) -> HiddenStateCache:
        """The states of some parts that a key describes; only those not cached are computed.

        The key is that of `compute_states`, which has set the precision, or differs in its speed.
        Of several processes on a machine the first one computes, and the others wait for it.
        """
        states = HiddenStateCache(Path(self.config.cache_dir), key)
        contents = {part: self.manifest.part(part)["content"].tolist() for part in parts}

        def batches() -> Batches:
            for part, names in contents.items():
                for batch in self.loader(part, speed=key.speed):
                    rows = [names[row] for row in batch["rows"]]
                    yield rows, batch["input_values"], batch["attention_mask"]

        wanted = [name for names in contents.values() for name in names]
        fill(states, network, batches(), wanted, self.context)
        return states

    def loader(
        self, part: str, *, shuffle: bool = False, divided: bool = False, speed: float = 1.0
    ) -> DataLoader[Batch]:
        """The batches of one part; `rows` of a batch are rows of `manifest.part(part)`.

        Batches of training (`shuffle`) and `divided` ones are divided among the devices.
        """
        config, augments = self.config, shuffle and self.config.augment.active
        dataset = UtteranceDataset(
            self.manifest.part(part),
            config.label_space,
            self.cache,
            config.max_seconds,
            normalizes=self.normalizes,
            augmentation=Augmentation(config.augment, self.seed, config.max_seconds)
            if augments
            else None,
            speed=speed,
        )
        least = config.max_seconds if config.padding == Padding.uniform else MIN_SECONDS
        sampler = self.sample(dataset, least, shuffle=shuffle, divided=divided)
        stored = self.states if part in TRAINED and speed == 1 else None
        kept: Any = dataset if stored is None else HiddenStateDataset(dataset, stored)
        join = partial(collate, samples=round(least * SAMPLE_RATE))
        if stored is not None:
            join = partial(collate, samples=0, least=0, grid=stored.key.grid)
        workers = count_workers(config, augments=augments)
        return DataLoader(
            kept,
            batch_sampler=sampler,
            collate_fn=join,
            num_workers=workers,
            worker_init_fn=start_worker,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def sample(
        self, dataset: UtteranceDataset, least: float, *, shuffle: bool, divided: bool
    ) -> BucketBatchSampler:
        """The sampler of a dataset whose utterances are padded to at least this many seconds."""
        config, trainer = self.config, self.trainer if shuffle or divided else None
        # Slowed down, an utterance becomes longer.
        stretched = dataset.seconds * (config.augment.longest if dataset.augmentation else 1)
        seconds = stretched.clip(least, max(least, config.max_seconds))
        padded = np.ceil(seconds * SAMPLE_RATE / GRID) * GRID / SAMPLE_RATE
        plan = BatchPlan(
            config.batch_size,
            config.max_batch_seconds,
            shuffle,
            self.seed,
            accumulate=trainer.accumulate_grad_batches if shuffle and trainer else 1,
        )
        balanced = shuffle and config.sampling == Sampling.balanced
        sampler = BucketBatchSampler(
            padded,
            plan,
            Shard(trainer.global_rank, trainer.world_size) if trainer else None,
            self.start if shuffle else None,
            balance(dataset.labels) if balanced else None,
        )
        if shuffle and trainer is not None:
            limit_batches(sampler, trainer)
        return sampler


def count_workers(config: DataConfig, *, augments: bool) -> int:
    """The number of loader processes: by default some for augmentation, and none without it.

    Raises UserError if their sockets would have names that are too long; training would wait for
    ever.
    """
    workers = max(1, min(MAX_WORKERS, cpu_count() - 1)) if augments else 0
    if config.num_workers is not None:
        workers = config.num_workers
    folder = tempfile.gettempdir()
    if workers and os.name == "posix" and len(os.fsencode(folder)) > LONGEST_TMPDIR:
        raise UserError(
            f"TMPDIR={folder} has more than {LONGEST_TMPDIR} bytes, which is too long for the"
            " sockets of loader processes: set a shorter one, for example TMPDIR=/tmp, or"
            " data.num_workers=0"
        )
    return workers


def limit_batches(sampler: BucketBatchSampler, trainer: Any) -> None:
    """Tell the sampler where `trainer.limit_train_batches` ends an epoch.

    Raises UserError if no batch is left, or too few for `trainer.val_check_interval`.
    """
    limit, every, batches = trainer.limit_train_batches, trainer.val_check_interval, len(sampler)
    if isinstance(limit, float):
        limit = int(batches * limit)
    rule = f"none of the {batches} batches of an epoch is left"
    require(limit > 0, "trainer.limit_train_batches", trainer.limit_train_batches, rule)
    rule = f"an epoch has only {min(limit, batches)} batches"
    reached = not isinstance(every, int) or every <= min(limit, batches)
    require(reached, "trainer.val_check_interval", every, rule)
    sampler.plan = replace(sampler.plan, limit=limit)


def start_worker(index: int) -> None:
    """Seed a loader process, and leave signals to the training process.

    Ctrl-C, Slurm and a closed terminal reach every process; the training process finishes its step
    first.
    """
    pl_worker_init_function(index)
    for number in (signal.SIGINT, *STOP_SIGNALS):
        signal.signal(number, signal.SIG_IGN)


def end_workers() -> None:
    """End the daemon processes that are left when the interpreter exits.

    It would send SIGTERM to them and then wait, for ever for loader processes that ignore it.
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            with suppress(RuntimeError):  # torch reports the end of a loader process as an error
                process.terminate()
                process.join(GRACE)
                process.kill()
                process.join(GRACE)


atexit.register(end_workers)  # runs before the hook of multiprocessing, which is older
