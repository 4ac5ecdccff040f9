"""A tiny module and batches of noise, to train without corpora."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from ser.config.callbacks import MonitoringConfig, default_callbacks
from ser.config.train import TrainConfig
from ser.config.trainer import TrainerConfig
from ser.corpora.emotions import LABELS
from ser.data.dataset import Batch, Example, collate
from ser.data.sampler import BatchPlan, BucketBatchSampler, SampleIndex
from ser.models.build import plain
from ser.models.checkpoint import CheckpointMetadata
from ser.models.families.registry import FAMILIES
from ser.training.module import EmotionClassifier
from ser.training.targets import AuxiliaryTasks, Targets
from ser.training.trainer import build_trainer

DROPOUTS = ("hidden", "attention", "activation", "feat_proj", "final")
STILL = {f"{name}_dropout": 0.0 for name in DROPOUTS} | {"dropout": 0.0}


class Noise(LightningDataModule):
    """Batches of noise for training and validation; every utterance has a name."""

    def __init__(self, training: Sequence[Batch], validation: Sequence[Batch]) -> None:
        super().__init__()
        self.training, self.validation = training, validation
        names = pd.DataFrame({"id": [f"noise/{row}" for row in range(100)]})
        self.manifest = SimpleNamespace(part=lambda part: names)

    def train_dataloader(self) -> Any:
        return DataLoader(self.training, batch_size=None)  # pyright: ignore[reportArgumentType]

    def val_dataloader(self) -> Any:
        return DataLoader(self.validation, batch_size=None)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def settings(make_model, tmp_path) -> Callable[..., TrainConfig]:
    """Settings on the CPU; options of the network, of the trainer, and callbacks."""

    def settings(
        architecture: dict[str, Any],
        model: dict[str, Any] | None = None,
        callbacks: dict[str, Any] | None = None,
        **trainer: Any,
    ) -> TrainConfig:
        defaults = {"accelerator": "cpu", "devices": 1, "precision": "32-true", "max_epochs": 1}
        quiet = {"monitoring": MonitoringConfig(worst_errors=0)}  # there is no audio to log
        more: dict[str, Any] = {"callbacks": default_callbacks() | quiet}
        if callbacks is not None:
            more = {"callbacks": callbacks, "logger": {}}
        return TrainConfig(
            output_dir=str(tmp_path),
            model=make_model(architecture | STILL, **(model or {})),
            trainer=TrainerConfig(**(defaults | trainer)),
            **more,
        )

    return settings


@pytest.fixture
def make_module(tune) -> Callable[..., EmotionClassifier]:
    def make_module(config: TrainConfig, weights: list[float] | None = None) -> EmotionClassifier:
        backbone = config.model.backbone
        masks = {
            name: getattr(backbone, name)
            for name in ("mask_time_prob", "mask_feature_prob", "layerdrop")
        }
        model = {k: v for k, v in vars(config.model).items() if k != "backbone"}
        network = tune(backbone.architecture, **masks, **model)
        extractor = FAMILIES[network.config.model_type].feature_extractor()
        metadata = CheckpointMetadata(
            config, LABELS, 16_000, plain(network.config), plain(extractor), "fingerprint"
        )
        soft = torch.full((100, len(LABELS)), 1 / len(LABELS))
        genders = pd.DataFrame({"gender": ["female", "male"] * 50})
        targets = Targets(
            class_weights=weights,
            soft_labels=soft if config.model.soft_labels else None,
            auxiliary=AuxiliaryTasks(
                network.classifier.in_features,
                genders,
                config.model.auxiliary,
                config.model.adversarial,
            )
            if config.model.auxiliary
            else None,
        )
        return EmotionClassifier(network, metadata, targets=targets)

    return make_module


@pytest.fixture
def make_batches() -> Callable[..., list[Batch]]:
    """Noise of different lengths in batches of so many, with the weights of the sampler."""

    def make_batches(count: int, batch_size: int, accumulate: int = 1) -> list[Batch]:
        generator = np.random.default_rng(0)
        seconds = generator.uniform(0.3, 0.6, count)
        plan = BatchPlan(batch_size, shuffle=True, accumulate=accumulate)
        batches = []
        for indices in BucketBatchSampler(seconds, plan):
            batches.append(collate([make_noise(index, seconds) for index in indices]))
        return batches

    return make_batches


def make_noise(index: SampleIndex, seconds: np.ndarray) -> Example:
    generator = np.random.default_rng(index.row)
    samples = generator.normal(0, 1, (round(16_000 * seconds[index.row]),)).astype(np.float32)
    return Example(samples, index.row % len(LABELS), index, float(seconds[index.row]))


@pytest.fixture
def fit(make_module) -> Callable[..., tuple[EmotionClassifier, Trainer]]:
    """Train on batches, validate on two of them, and return the module and the trainer."""

    def fit(
        config: TrainConfig,
        batches: Sequence[Batch],
        *callbacks: Callback,
        weights: list[float] | None = None,
    ) -> tuple[EmotionClassifier, Trainer]:
        module = make_module(config, weights)
        trainer = build_trainer(config, callbacks)
        torch.manual_seed(0)
        trainer.fit(module, Noise(batches, deepcopy(batches[:2])))
        return module, trainer

    return fit


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path
