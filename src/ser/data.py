"""From manifest to batches: dataset, collate, EmotionDataModule."""

import json
import logging
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning import LightningDataModule, Trainer
from lightning.fabric.utilities.seed import pl_worker_init_function
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Wav2Vec2FeatureExtractor

from ser import hidden_states
from ser.audio import MIN_SECONDS, SAMPLE_RATE, Waveform
from ser.augment import Augmentation
from ser.batch import GRID, MIN_SAMPLES, normalise, pad
from ser.cache import AudioCache
from ser.data_config import DataConfig, Padding, Sampling
from ser.hidden_states import HiddenStateCache, HiddenStates
from ser.manifest import Manifest
from ser.network import EmotionNetwork
from ser.sampler import BucketBatchSampler, Place

log = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]
Draw = tuple[int, int, int]  # a row, its epoch, and how often it was drawn before in that


@dataclass(frozen=True)
class Example:
    """One utterance, ready for the network: normalised samples (time,), label, row.

    In place of the samples there may be hidden states (frames, layers, size).
    """

    input_values: Waveform | HiddenStates
    label: int
    row: int


class UtteranceDataset(Dataset[Example]):
    """The utterances of one part, read from the audio cache.

    Each waveform is normalised on its own, before any padding, as it will be when it is
    predicted alone.
    """

    def __init__(
        self,
        utterances: pd.DataFrame,
        labels: Sequence[str],
        cache: AudioCache,
        feature_extractor: Wav2Vec2FeatureExtractor,
        max_seconds: float,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.contents = utterances["content"].tolist()
        self.recordings = cache.recordings(self.contents)
        self.labels = utterances["emotion"].map(labels.index).tolist()
        self.seconds = utterances["seconds"].clip(upper=max_seconds).to_numpy()
        self.feature_extractor = feature_extractor
        self.max_samples = round(max_seconds * SAMPLE_RATE)
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int | Draw) -> Example:
        row, epoch, turn = index if isinstance(index, tuple) else (index, 0, 0)
        waveform = self.recordings[row]
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, epoch, row, turn)
        waveform = waveform[: self.max_samples]
        return Example(normalise(waveform, self.feature_extractor), self.labels[row], row)


class HiddenStateDataset(Dataset[Example]):
    """The same utterances as hidden states (frames, layers, size), read from their cache."""

    def __init__(self, utterances: UtteranceDataset, states: HiddenStateCache) -> None:
        self.utterances, self.states = utterances, states
        self.seconds = utterances.seconds

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, row: int) -> Example:
        states = self.states.read(self.utterances.contents[row])
        return Example(states.copy(), self.utterances.labels[row], row)


class EpochBatchSampler(Sampler[list[Draw]]):
    """The batches of another sampler, each row with its epoch, and how often it came in it before.

    A loader process that lives through all epochs learns of the epoch in no other way.
    """

    def __init__(self, sampler: BucketBatchSampler) -> None:
        self.sampler = sampler  # Lightning 2.6 tells this one the epoch

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, drawn = self.sampler.epoch, Counter[int]()

        def count(row: int) -> Draw:
            drawn[row] += 1
            return row, epoch, drawn[row] - 1

        batches = self.sampler.global_batches(epoch)
        yield from self.sampler.share([[count(row) for row in batch] for batch in batches])


def balance(labels: Sequence[int]) -> np.ndarray:
    """The chance of each row where every label that occurs is to be drawn as often."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / counts[places] / len(counts)


def collate(
    examples: list[Example], samples: int, least: int = MIN_SAMPLES, grid: int = GRID
) -> Batch:
    """Pad as `ser.batch.pad` does.

    Returns input_values and attention_mask (batch, time), labels and rows (batch,); for hidden
    states, time is counted in frames, and input_values are (batch, time, layers, size) in half
    precision.
    """
    values, mask = pad([example.input_values for example in examples], samples, least, grid)
    return {
        "input_values": values,
        "attention_mask": mask,
        "labels": torch.tensor([example.label for example in examples]),
        "rows": torch.tensor([example.row for example in examples]),
    }


def start_worker(index: int) -> None:
    """A loader process is seeded by Lightning, and leaves signals to the process that trains.

    Ctrl-C and Slurm reach every process; the one that trains ends its step first.
    """
    pl_worker_init_function(index)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class EmotionDataModule(LightningDataModule):
    """The loaders of the three parts of a manifest; training starts from `start`."""

    def __init__(
        self,
        manifest: Manifest,
        config: DataConfig,
        feature_extractor: Wav2Vec2FeatureExtractor,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.manifest, self.config, self.seed = manifest, config, seed
        self.feature_extractor = feature_extractor
        self.cache = AudioCache(Path(config.cache_dir))
        self.states: HiddenStateCache | None = None  # for training and validation, where set
        self.start = Place()

    def keep_hidden_states(self, network: EmotionNetwork, trainer: Trainer) -> None:
        """Compute what lies below the first trained layer, for training to start from there.

        Of several processes on a machine, the first computes and the others wait for it.
        """
        extractor = json.loads(self.feature_extractor.to_json_string())
        recipe = hidden_states.describe(
            network, self.config.max_seconds, str(trainer.precision), extractor
        )
        states = HiddenStateCache(Path(self.config.cache_dir), recipe)
        contents = {p: self.manifest.part(p)["content"].tolist() for p in ("train", "val")}

        def batches() -> hidden_states.Batches:
            for part, names in contents.items():
                for batch in self.loader(part):
                    rows = [names[row] for row in batch["rows"].tolist()]
                    yield rows, batch["input_values"], batch["attention_mask"]

        network.to(trainer.strategy.root_device)  # pyright: ignore[reportArgumentType]
        context = trainer.precision_plugin.forward_context
        hidden_states.fill(
            states, network, batches(), [*contents["train"], *contents["val"]], context
        )
        self.states = states
        log.info("training starts from hidden states in %s", states.folder)

    def train_dataloader(self) -> DataLoader[Example]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Example]:
        return self.loader("val")

    def loader(self, part: str, *, shuffle: bool = False) -> DataLoader[Example]:
        """The batches of one part; `rows` in a batch count the rows of `manifest.part(part)`."""
        config, trainer = self.config, self.trainer
        changing = shuffle and config.augment.active
        utterances = self.manifest.part(part)
        dataset = UtteranceDataset(
            utterances,
            config.label_space,
            self.cache,
            self.feature_extractor,
            config.max_seconds,
            Augmentation(config.augment, self.seed, config.max_seconds) if changing else None,
        )
        balanced = shuffle and config.sampling == Sampling.balanced
        least = config.max_seconds if config.padding == Padding.uniform else MIN_SECONDS
        # Slowed down, an utterance is longer, and may fill a batch of so many seconds.
        stretched = dataset.seconds * (config.augment.longest if changing else 1)
        seconds = stretched.clip(least, max(least, config.max_seconds))
        padded = np.ceil(seconds * SAMPLE_RATE / GRID) * GRID / SAMPLE_RATE
        sampler = BucketBatchSampler(
            padded,
            config.batch_size,
            max_batch_seconds=config.max_batch_seconds,
            shuffle=shuffle,
            seed=self.seed,
            # Only training is shared out: of an evaluation in even shares, some utterances would
            # be counted twice.
            rank=trainer.global_rank if trainer and shuffle else 0,
            world_size=trainer.world_size if trainer and shuffle else 1,
            start=self.start if shuffle else None,
            chances=balance(dataset.labels) if balanced else None,
        )
        join = partial(collate, samples=round(least * SAMPLE_RATE))
        stored = self.states if part != "test" else None
        if stored is not None:
            join = partial(collate, samples=0, least=0, grid=stored.recipe.grid)
        return DataLoader(
            dataset if stored is None else HiddenStateDataset(dataset, stored),  # pyright: ignore
            batch_sampler=EpochBatchSampler(sampler) if changing else sampler,
            collate_fn=join,
            num_workers=config.num_workers,
            worker_init_fn=start_worker,
            persistent_workers=config.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
