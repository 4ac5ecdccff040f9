"""Whether a checkpoint can be resumed with these settings, and where training stopped."""

import logging
from typing import Any

from ser.config.model import Schedule
from ser.config.plain import to_plain
from ser.config.train import RESULT, TrainConfig
from ser.data.sampler import ResumePoint
from ser.errors import UserError, amount
from ser.models.checkpoint import Checkpoint, CheckpointMetadata

# If one of these changed, the resumed training would be neither run.
FIXED = frozenset(
    {"seed", "data.batch_size", "data.max_batch_seconds", "data.max_seconds", "data.padding"}
    | {"data.sampling", "data.corpora", "data.labels", "data.merge"}
    | {"trainer.accumulate_grad_batches", "trainer.limit_train_batches"}
)
FREE = frozenset(
    {"model.gradient_checkpointing", "model.compile", "model.tf32"}
    | {"model.backbone.architecture.name_or_path"}
)
# These change the numbers, but not the meaning of the run.
REPORTED = frozenset({"trainer.precision", "trainer.gradient_clip_val", "trainer.devices"})

log = logging.getLogger(__name__)


def check_resumable(
    checkpoint: Checkpoint, config: TrainConfig, now: CheckpointMetadata, world_size: int
) -> ResumePoint | None:
    """Where to continue; None if training was complete but the run was never closed.

    With more epochs or steps than before, the schedule is stretched to the new end. Raises
    UserError for a checkpoint of other settings, or if nothing is left to do.
    """
    ckpt, then = checkpoint.path, checkpoint.metadata
    if then.labels != now.labels:
        raise UserError(
            f"ckpt={ckpt}: the checkpoint has labels {', '.join(then.labels)}, but the config has"
            f" {', '.join(now.labels)}; keep data.labels and data.merge, or train a new model"
        )
    before, after = flatten(to_plain(then.config)), flatten(to_plain(now.config))
    for key in sorted(before.keys() | after.keys()):
        changed = before.get(key) != after.get(key)
        fixed = key.startswith(("model.", "split.", "data.augment.")) or key in FIXED
        if changed and fixed and key not in FREE:
            raise UserError(
                f"ckpt={ckpt} was trained with {key}={before.get(key)}; the config has"
                f" {after.get(key)}: keep the old value"
            )
        if changed and key in REPORTED:
            log.warning("%s was %s, and is %s from here on", key, before.get(key), after.get(key))
    if then.manifest != now.manifest:
        raise UserError(f"ckpt={ckpt} was trained on other data: the corpora have changed since")
    fitted = config.model.only_fits  # such a run saves its checkpoints at its end
    if not fitted and not checkpoint.content.get("optimizer_states"):
        raise UserError(
            f"ckpt={ckpt} holds no optimiser state: it can be evaluated, but not resumed"
        )
    devices = checkpoint.content.get("world_size", world_size)
    if devices != world_size:
        raise UserError(
            f"ckpt={ckpt} was trained on {amount(devices, 'device')}; this run has {world_size}"
        )
    return check_unfinished(checkpoint, config, before)


def check_unfinished(
    checkpoint: Checkpoint, config: TrainConfig, before: dict[str, Any]
) -> ResumePoint | None:
    """The place where a checkpoint stopped; None if the run only has to be closed.

    Raises UserError if training ended there and the run was closed.
    """
    ckpt, progress = checkpoint.path, checkpoint.content
    place, reason = find_resume_point(progress), ""
    if config.model.only_fits:
        reason = "its head is fitted; `ser evaluate` scores it, and a new output_dir trains another"
    for done, key in ((place.epoch, "max_epochs"), (progress["global_step"], "max_steps")):
        limit = getattr(config.trainer, key)
        if limit != -1 and done >= limit:
            reason = f"trainer.{key}={limit} is reached; increase it to train longer"
        old = before.get(f"trainer.{key}")
        if config.model.schedule != Schedule.constant and old not in (None, limit):
            log.warning(
                "trainer.%s was %s: from here on the learning rate follows the schedule of %s,"
                " which differs from the one so far",
                *(key, old, limit),
            )
    patience = getattr(config.callbacks.get("early_stopping"), "patience", 0)
    for name, state in progress["callbacks"].items():
        if name.startswith("EarlyStopping") and 0 < patience <= state["wait_count"]:
            reason = (
                "it stopped early; increase callbacks.early_stopping.patience"
                f" (now {patience}) to train longer"
            )
    if not reason:
        return place
    closed = checkpoint.run_folder / RESULT
    if closed.is_file() or checkpoint.metadata.schema == 1:
        raise UserError(f"ckpt={ckpt} is finished: {reason}")
    log.info("Training was complete: closing the run")
    return None


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full keys."""
    flat = {}
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def find_resume_point(content: dict[str, Any]) -> ResumePoint:
    """Where in training a checkpoint of Lightning was written: what comes next."""
    loop = content["loops"]["fit_loop"]
    epoch, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
    done = int(epoch["processed"])
    if epoch["ready"] == done:
        return ResumePoint(done)
    if batches["is_last_batch"]:
        return ResumePoint(done + 1)
    # `completed` is counted after the hook in which the checkpoint may have been written.
    return ResumePoint(done, int(batches["current"]["processed"]))
