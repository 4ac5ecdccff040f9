"""Whether a checkpoint can be resumed under these settings, and where in training it stopped."""

import logging
from pathlib import Path
from typing import Any

import torch

from ser.config import Schedule, TrainConfig
from ser.model import Blueprint, read_checkpoint
from ser.sampler import Place

# With these changed, resumed training would be something else than either run.
FIXED_WHEN_RESUMED = frozenset(
    {"seed", "data.batch_size", "data.max_batch_seconds", "data.max_seconds", "data.padding"}
    | {"data.sampling"}
    | {"data.corpora", "data.labels", "data.merge"}
    | {"trainer.accumulate_grad_batches", "trainer.limit_train_batches"}
)
FREE_WHEN_RESUMED = frozenset({"model.gradient_checkpointing", "model.compile", "model.tf32"})

log = logging.getLogger(__name__)


def check_resumable(ckpt: Path, config: TrainConfig, now: Blueprint, world_size: int) -> Place:
    """Where to go on. Raises ValueError for a checkpoint of other settings, or with nothing left.

    With more epochs or steps than before, the schedule is stretched to the new end.
    """
    then = read_checkpoint(ckpt)[0]
    if then.labels != now.labels:
        raise ValueError(
            f"ckpt={ckpt} tells {', '.join(then.labels)} apart, and not {', '.join(now.labels)}:"
            " keep data.labels and data.merge, or train anew"
        )
    before, after = flatten(then.config), flatten(now.config)
    for key in sorted(before.keys() | after.keys()):
        fixed = key.startswith(("model.", "split.", "data.augment.")) or key in FIXED_WHEN_RESUMED
        fixed &= key not in FREE_WHEN_RESUMED
        if fixed and before.get(key) != after.get(key):
            raise ValueError(f"ckpt={ckpt} was trained with {key}={before.get(key)}: keep it so")
    if then.manifest != now.manifest:
        raise ValueError(f"ckpt={ckpt} was trained on other data: the corpora have changed since")
    progress = torch.load(ckpt, weights_only=True, map_location="cpu", mmap=True)
    if not progress.get("optimizer_states"):
        raise ValueError(f"ckpt={ckpt} holds no optimiser state: it can be evaluated, not resumed")
    devices = progress.get("world_size", world_size)
    if devices != world_size:
        raise ValueError(f"ckpt={ckpt} was trained on {devices} devices, and here are {world_size}")
    return check_unfinished(ckpt, config, progress, before)


def check_unfinished(
    ckpt: Path, config: TrainConfig, progress: dict[str, Any], before: dict[str, Any]
) -> Place:
    """The place that a checkpoint stopped at. Raises ValueError where training had ended there."""
    place = find_place(progress)
    for done, key in ((place.epoch, "max_epochs"), (progress["global_step"], "max_steps")):
        limit = getattr(config.trainer, key)
        if limit != -1 and done >= limit:
            raise ValueError(f"ckpt={ckpt} is done, trainer.{key}={limit}: give more to go on")
        old = before.get(f"trainer.{key}")
        if config.model.schedule != Schedule.constant and old not in (None, limit):
            log.warning(
                "trainer.%s was %s: from here the learning rate falls as if it had been %s from"
                " the start, and differs from what it was",
                *(key, old, limit),
            )
    for name, state in progress["callbacks"].items():
        patience = getattr(config.callbacks.get("early_stopping"), "patience", 0)
        if name.startswith("EarlyStopping") and 0 < patience <= state["wait_count"]:
            raise ValueError(
                f"ckpt={ckpt} is done, it stopped early:"
                f" give more than callbacks.early_stopping.patience={patience} to go on"
            )
    return place


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full keys."""
    flat = {}
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def find_place(checkpoint: dict[str, Any]) -> Place:
    """Where in training a checkpoint of Lightning was written: what comes next."""
    loop = checkpoint["loops"]["fit_loop"]
    epoch, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
    done = int(epoch["processed"])
    if epoch["ready"] == done:
        return Place(done)
    if batches["is_last_batch"]:
        return Place(done + 1)
    # `completed` is counted after the hook that the checkpoint may have been written in.
    return Place(done, int(batches["current"]["processed"]))
