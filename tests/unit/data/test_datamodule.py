"""The loaders of a data module, with and without a Trainer."""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from ser.audio.recording import SAMPLE_RATE
from ser.config.data import DataConfig, Padding
from ser.corpora.emotions import LABELS
from ser.data import datamodule
from ser.data.datamodule import EmotionDataModule, count_workers
from ser.errors import UserError
from ser.models.inputs import GRID
from ser.preparation.manifest import Manifest
from ser.preparation.prepare import prepare


@pytest.fixture(scope="module")
def make_data(quick_config, tmp_path_factory) -> Callable[..., EmotionDataModule]:
    manifests: dict[str, Manifest] = {}  # by split: no other option of these tests changes them
    folder = tmp_path_factory.mktemp("data")

    def make_data(*overrides: str, seed: int = 0) -> EmotionDataModule:
        config = quick_config(folder, *overrides)
        if config.split.kind not in manifests:
            manifests[config.split.kind] = prepare(config.data, config.split)
        return EmotionDataModule(manifests[config.split.kind], config.data, seed=seed)

    return make_data


def rows_of(loader: Any) -> list[int]:
    return [row for batch in loader for row in batch["rows"]]


def set_epoch(loader: Any, epoch: int) -> Any:
    loader.batch_sampler.sampler.set_epoch(epoch)
    return loader


def test_the_three_loaders_work_without_a_trainer(make_data):
    data = make_data()
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
    for part, loader in zip(("train", "val", "test"), loaders, strict=True):
        assert sorted(rows_of(loader)) == list(range(len(data.manifest.part(part))))


def test_batches_have_few_different_lengths_and_little_padding(make_data):
    masks = [batch["attention_mask"] for batch in make_data("data.batch_size=4").val_dataloader()]
    lengths = {mask.shape[1] for mask in masks}
    assert all(length % GRID == 0 for length in lengths)
    assert len(lengths) < len(masks) / 2
    assert sum(int(mask.sum()) for mask in masks) > 0.9 * sum(map(torch.numel, masks))


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["data.augment.speed=1"]], ids=["plain", "slowed down"])
def test_a_budget_of_seconds_includes_all_padding(make_data, options):
    data = make_data("data.max_batch_seconds=20", *options)
    for batch in data.train_dataloader():
        assert batch["attention_mask"].numel() <= 20 * SAMPLE_RATE


def test_uniform_padding_gives_every_batch_the_same_length(make_data):
    data = make_data("data.padding=uniform", "data.max_seconds=1.0")
    assert data.config.padding == Padding.uniform
    lengths = {batch["input_values"].shape[1] for batch in data.train_dataloader()}
    assert lengths == {SAMPLE_RATE}


def test_long_utterances_are_trimmed(make_data):
    batch = next(iter(make_data("data.max_seconds=0.5").val_dataloader()))
    assert batch["input_values"].shape[1] == SAMPLE_RATE // 2
    assert batch["seconds"] == pytest.approx(0.5 * len(batch["rows"]))


@pytest.mark.parametrize("normalizes", [True, False])
def test_each_waveform_is_normalised_on_its_own_if_the_backbone_needs_it(make_data, normalizes):
    data = make_data()
    data.normalizes = normalizes
    batch = next(iter(data.val_dataloader()))
    clips = zip(batch["input_values"], batch["attention_mask"], strict=True)
    for values, mask in clips:
        valid = values[mask.bool()]
        if normalizes:
            assert valid.mean().item() == pytest.approx(0, abs=1e-3)
        assert (valid.std().item() == pytest.approx(1, abs=1e-2)) == normalizes


def test_a_batch_carries_the_labels_and_seconds_of_its_rows(make_data):
    data = make_data()
    part = data.manifest.part("val")
    for batch in data.val_dataloader():
        rows = part.iloc[batch["rows"]]
        assert [LABELS[label] for label in batch["labels"]] == rows["emotion"].tolist()
        assert batch["seconds"] == pytest.approx(rows["seconds"].sum())
        assert batch["attention_mask"].sum() == pytest.approx(batch["seconds"] * 16_000, abs=20)


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_loader_processes_give_the_same_batches_in_every_epoch(make_data, start_method):
    alone = make_data().train_dataloader()
    helped = make_data("data.num_workers=2").train_dataloader()
    helped.multiprocessing_context = start_method
    for epoch in range(2):  # the processes of the first epoch serve the second too
        pairs = zip(set_epoch(alone, epoch), set_epoch(helped, epoch), strict=True)
        for one, other in pairs:
            assert torch.equal(one["input_values"], other["input_values"])
            assert one["rows"] == other["rows"]


def test_a_second_preparation_finds_everything_in_the_cache(quick_config, tmp_path):
    config = quick_config(tmp_path)
    first = prepare(config.data, config.split)
    before = sorted(Path(config.data.cache_dir).rglob("*.pcm"))
    assert prepare(config.data, config.split).fingerprint == first.fingerprint
    assert sorted(Path(config.data.cache_dir).rglob("*.pcm")) == before


def test_training_batches_are_shuffled_by_the_seed(make_data):
    data, other = make_data(), make_data(seed=1)
    order = rows_of(data.train_dataloader())
    assert order == rows_of(data.train_dataloader()) != rows_of(other.train_dataloader())
    lengths = [batch["attention_mask"].sum(1).max().item() for batch in data.train_dataloader()]
    assert lengths != sorted(lengths)


def fake_trainer(**options: Any) -> Any:
    defaults = {"global_rank": 0, "world_size": 1, "accumulate_grad_batches": 1}
    limits = {"limit_train_batches": 1.0, "val_check_interval": 1.0}
    return cast(Any, SimpleNamespace(**(defaults | limits | options)))


def test_devices_train_and_validate_on_different_rows(make_data):
    seen, validated = [], []
    for rank in (0, 1):
        data = make_data()
        data.trainer = fake_trainer(global_rank=rank, world_size=2)
        seen.append(rows_of(data.train_dataloader()))
        validated.append(rows_of(data.val_dataloader()))
    assert set(validated[0]) | set(validated[1]) == set(range(len(data.manifest.part("val"))))
    assert abs(len(validated[0]) - len(validated[1])) <= data.config.batch_size
    assert not set(seen[0]) & set(seen[1])
    assert len(seen[0]) + len(seen[1]) == len(data.manifest.part("train"))


@pytest.mark.parametrize(
    "options",
    [
        {"limit_train_batches": 0.001},
        {"val_check_interval": 10_000},
        {"val_check_interval": 4, "limit_train_batches": 3},
    ],
)
def test_limits_that_leave_no_batch_are_errors(make_data, options):
    data = make_data()
    data.trainer = fake_trainer(**options)
    with pytest.raises(UserError, match=rf"trainer\.{next(iter(options))}"):
        data.train_dataloader()


def test_balanced_sampling_is_for_training_only(make_data):
    data = make_data("data.sampling=balanced", "split=stratified")
    count = np.bincount([LABELS.index(e) for e in data.manifest.part("train")["emotion"]])
    labels = torch.cat([batch["labels"] for batch in data.train_dataloader()])
    drawn = np.bincount(labels, minlength=8) / len(labels)
    assert count.std() / count.mean() > 0.2 > drawn.std() / drawn.mean()
    assert len(set(rows_of(data.val_dataloader()))) == len(data.manifest.part("val"))


def waveforms(data: EmotionDataModule, epoch: int) -> dict[int, torch.Tensor]:
    """The training waveforms of an epoch by row."""
    return {
        row: value[mask.bool()]
        for batch in set_epoch(data.train_dataloader(), epoch)
        for row, value, mask in zip(
            batch["rows"], batch["input_values"], batch["attention_mask"], strict=True
        )
    }


@pytest.mark.slow
def test_augmentation_depends_on_the_epoch_and_not_on_the_worker(make_data):
    noise = "data.augment.noise=1"
    first = waveforms(make_data(noise), 0)
    helped = waveforms(make_data(noise, "data.num_workers=2"), 0)
    plain, second = waveforms(make_data(), 0), waveforms(make_data(noise), 1)
    assert all(torch.equal(first[row], helped[row]) for row in first)
    assert not any(torch.equal(first[row], plain[row]) for row in first)
    assert not any(torch.equal(first[row], second[row]) for row in first)


def test_persistent_workers_learn_the_epoch(make_data):
    loader = make_data("data.augment.noise=1", "data.num_workers=1").train_dataloader()
    seen = [
        {b["rows"][0]: b["input_values"][0] for b in set_epoch(loader, epoch)} for epoch in (0, 1)
    ]
    shared = set(seen[0]) & set(seen[1])
    assert shared
    assert not any(torch.equal(seen[0][row][:4000], seen[1][row][:4000]) for row in shared)


def test_only_training_is_augmented(make_data):
    noisy, plain = make_data("data.augment.noise=1"), make_data()
    for one, other in zip(noisy.val_dataloader(), plain.val_dataloader(), strict=True):
        assert torch.equal(one["input_values"], other["input_values"])


def test_an_utterance_drawn_again_is_augmented_differently(make_data):
    data = make_data("data.sampling=balanced", "data.augment.noise=1")
    seen: dict[int, set[float]] = {}
    for batch in data.train_dataloader():
        for row, samples in zip(batch["rows"], batch["input_values"], strict=True):
            seen.setdefault(row, set()).add(float(samples.abs().sum()))
    sampler: Any = data.train_dataloader().batch_sampler
    drawn = Counter(index.row for batch in sampler for index in batch)
    assert max(drawn.values()) > 1
    assert all(len(seen[row]) == times for row, times in drawn.items())


@pytest.mark.parametrize(
    ("workers", "augments", "expected"),
    [(None, False, 0), (None, True, 3), (0, True, 0), (2, False, 2)],
)
def test_augmentation_gets_loader_processes_by_default(monkeypatch, workers, augments, expected):
    monkeypatch.setattr(datamodule, "cpu_count", lambda: 4)
    config = DataConfig(num_workers=workers)
    assert datamodule.count_workers(config, augments=augments) == expected


def test_a_long_folder_for_temporary_files_is_refused_with_loader_processes(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", f"/tmp/{'x' * 200}")
    assert count_workers(DataConfig(num_workers=0), augments=True) == 0
    with pytest.raises(UserError, match="TMPDIR"):
        count_workers(DataConfig(num_workers=2), augments=False)


HELD = """
import sys
from torch.utils.data import DataLoader
from ser.data.datamodule import start_worker
loader = DataLoader(range(9), num_workers=2, worker_init_fn=start_worker, persistent_workers=True)
held = iter(loader)
next(held)
sys.exit(3)
"""


@pytest.mark.slow
def test_a_program_that_still_holds_a_loader_ends():
    """Its processes ignore SIGTERM, by which the interpreter would end them."""
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
