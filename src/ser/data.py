"""From manifest to batches: dataset, collate, EmotionDataModule."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning import LightningDataModule
from lightning.fabric.utilities.seed import pl_worker_init_function
from torch.utils.data import DataLoader, Dataset
from transformers import Wav2Vec2FeatureExtractor

from ser.audio import SAMPLE_RATE, Waveform
from ser.cache import AudioCache
from ser.data_config import DataConfig, Padding
from ser.manifest import Manifest
from ser.sampler import BucketBatchSampler, Place

# A batch of clips shorter than this would be shorter than one SpecAugment span of 10 frames.
MIN_SECONDS = 0.25

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Example:
    """One utterance, ready for the network: normalised samples (time,), label, row."""

    input_values: Waveform
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
    ) -> None:
        self.recordings = cache.recordings(utterances["content"].tolist())
        self.labels = utterances["emotion"].map(labels.index).tolist()
        self.seconds = utterances["seconds"].clip(upper=max_seconds).to_numpy()
        self.feature_extractor = feature_extractor
        self.max_samples = round(max_seconds * SAMPLE_RATE)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, row: int) -> Example:
        waveform = self.recordings[row][: self.max_samples]
        values = self.feature_extractor(waveform, sampling_rate=SAMPLE_RATE).input_values[0]
        return Example(np.asarray(values, np.float32), self.labels[row], row)


def collate(examples: list[Example], samples: int) -> Batch:
    """Pad with zeros on the right, to the longest example or to `samples` if that is more.

    Returns input_values and attention_mask (batch, time), labels and rows (batch,).
    """
    longest = max([samples, *(len(example.input_values) for example in examples)])
    values = torch.zeros(len(examples), longest)
    mask = torch.zeros(len(examples), longest, dtype=torch.long)
    for place, example in enumerate(examples):
        length = len(example.input_values)
        values[place, :length] = torch.from_numpy(example.input_values)
        mask[place, : max(length, round(MIN_SECONDS * SAMPLE_RATE))] = 1
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
        self.start = Place()

    def train_dataloader(self) -> DataLoader[Example]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Example]:
        return self.loader("val")

    def loader(self, part: str, *, shuffle: bool = False) -> DataLoader[Example]:
        """The batches of one part; `rows` in a batch count the rows of `manifest.part(part)`."""
        config, trainer = self.config, self.trainer
        utterances = self.manifest.part(part)
        dataset = UtteranceDataset(
            utterances,
            config.label_space,
            self.cache,
            self.feature_extractor,
            config.max_seconds,
        )
        least = config.max_seconds if config.padding == Padding.uniform else MIN_SECONDS
        sampler = BucketBatchSampler(
            dataset.seconds.clip(least),
            config.batch_size,
            max_batch_seconds=config.max_batch_seconds,
            shuffle=shuffle,
            seed=self.seed,
            # Only training is shared out: of an evaluation in even shares, some utterances would
            # be counted twice.
            rank=trainer.global_rank if trainer and shuffle else 0,
            world_size=trainer.world_size if trainer and shuffle else 1,
            start=self.start if shuffle else None,
        )
        return DataLoader(
            dataset,  # pyright: ignore[reportArgumentType]
            batch_sampler=sampler,
            collate_fn=partial(collate, samples=round(least * SAMPLE_RATE)),
            num_workers=config.num_workers,
            worker_init_fn=start_worker,
            persistent_workers=config.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
