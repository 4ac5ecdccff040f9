"""train(config): prepare the data, fit, and keep the best and the last checkpoint."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from ser.audio.cache import AudioCache
from ser.audio.recording import SAMPLE_RATE
from ser.config.callbacks import name_metric
from ser.config.model import Standardize
from ser.config.plain import key_of, to_plain
from ser.config.train import TrainConfig, find_last_checkpoint
from ser.data.datamodule import EmotionDataModule
from ser.errors import require
from ser.models.build import (
    build_feature_extractor,
    build_network,
    check_duration,
    configure_execution,
    describe_network,
    find_family,
    plain,
)
from ser.models.checkpoint import Checkpoint, CheckpointMetadata
from ser.models.finetuning import set_trainable
from ser.preparation.manifest import Manifest, keeping_dropped
from ser.preparation.prepare import check, prepare
from ser.system.libraries import allow_tf32, silence_warnings
from ser.system.signals import STOP_SIGNALS
from ser.training import provenance
from ser.training.announcements import announce, explain_cache, warn_of_ignored
from ser.training.callbacks.last_checkpoint import LastCheckpoint
from ser.training.features import prepare_head
from ser.training.initial_weights import load_initial_weights
from ser.training.loggers import log_hyperparameters, log_result
from ser.training.module import EmotionClassifier, TrainingError
from ser.training.parity import store_parity
from ser.training.resume import check_resumable, flatten
from ser.training.run_folder import (
    TrainResult,
    holding_folder,
    record,
    refuse_to_overwrite,
    write_result,
)
from ser.training.targets import build_targets
from ser.training.trainer import build_trainer, explain_memory

log = logging.getLogger(__name__)
# Not columns of the table of TensorBoard: places of files, and the layers of random networks.
UNSHOWN = ("data.paths", "data.cache_dir", "data.synthetic", "model.backbone.architecture")


def train(
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
    *,
    loss: nn.Module | None = None,
    on_prepared: Callable[[Manifest], object] = lambda manifest: None,
) -> TrainResult:
    """Prepare the data, fit, and write the checkpoints to `config.output_dir`.

    `callbacks` are added to those of the config. `loss(logits, labels)` replaces the loss of the
    config; it returns the mean over the batch and has no trainable parameters. `on_prepared`
    receives the manifest before training starts. The result names the best checkpoint, its metric
    and its score. Raises UserError for mistakes in settings, data or environment.
    """
    silence_warnings()
    config.check_files()
    rule = "has a loss of its own"
    require(loss is None or not config.model.only_fits, "model.fit", config.model.fit, rule)
    if config.ckpt is not None:
        config = replace(config, ckpt=str(find_last_checkpoint(config.ckpt)))
    seed_everything(config.seed, workers=True, verbose=False)
    allow_tf32(config.model.tf32)
    rank_zero_only(refuse_to_overwrite)(config)
    rank_zero_only(warn_of_ignored)(config)
    # Before the data, to fail early.
    trainer = build_trainer(config, callbacks)
    with keeping_drops(config):  # local data before the hub, which may have to be waited for
        scanned = check(config.data, config.split) if config.data.is_local else None
    describe_network(config.model, config.data.label_space)
    cache = AudioCache(Path(config.data.cache_dir))
    with keeping_drops(config):
        manifest = prepare(config.data, config.split, cache, scanned)
    rank_zero_only(on_prepared)(manifest)
    module, data = build(config, manifest, cache)
    module.criterion = module.criterion if loss is None else loss
    resumed = None if config.ckpt is None else Checkpoint.open(config.ckpt)
    finished = False
    if resumed is not None:
        place = check_resumable(resumed, config, module.metadata, trainer.world_size)
        finished = place is None
        data.start = place or data.start
    with holding_folder(config):
        record(manifest, config)
        if resumed is not None and finished:
            restore_best(trainer, resumed)
        else:
            run(trainer, module, data, config, resumed)
        if not config.trainer.fast_dev_run:
            store_parity(best_path(trainer), data, trainer.strategy.root_device)
        return conclude(trainer, config)


def keeping_drops(config: TrainConfig) -> AbstractContextManager[Any]:
    """A context: if the data cannot be used, a new run lists the files in dropped.csv.

    A resumed run keeps the dropped.csv that is in its folder.
    """
    return nullcontext() if config.ckpt else keeping_dropped(Path(config.output_dir))


def build(
    config: TrainConfig, manifest: Manifest, cache: AudioCache | None = None
) -> tuple[EmotionClassifier, EmotionDataModule]:
    """The module with its network, and the data module, of a config and a split manifest."""
    labels = config.data.label_space
    network = build_network(config.model, labels)
    if config.init_from is not None and config.ckpt is None:
        load_initial_weights(network, config.init_from, labels)
    set_trainable(network, config.model)
    family = find_family(network.config, config.model.backbone.name)
    check_duration(family, network.config, config.data.max_seconds)
    extractor = build_feature_extractor(config.model.backbone, family)
    metadata = CheckpointMetadata(
        config=config,
        labels=tuple(labels),
        sample_rate=SAMPLE_RATE,
        network=plain(network.config),
        feature_extractor=plain(extractor),
        manifest=manifest.fingerprint,
    )
    configure_execution(network, config.model)
    targets = build_targets(config.model, manifest.part("train"), labels, network)
    speakers = manifest.part("val")["speaker"].tolist()
    module = EmotionClassifier(network, metadata, targets, speakers)
    normalizes = family.normalizes(extractor)
    data = EmotionDataModule(manifest, config.data, cache, normalizes=normalizes, seed=config.seed)
    return module, data


def run(
    trainer: Trainer,
    module: EmotionClassifier,
    data: EmotionDataModule,
    config: TrainConfig,
    resumed: Checkpoint | None,
) -> None:
    """Fit, and record the time and the machine even if training is interrupted."""
    log_hyperparameters(trainer, flatten_choices(config))
    before = None if resumed is None else provenance.read(resumed.run_folder)
    beginning = provenance.begin(provenance.gpus_of(trainer))
    recorder = provenance.ProvenanceLog(beginning, before, Path(config.output_dir))
    trainer.callbacks.insert(0, recorder)  # pyright: ignore  # before the checkpoints, which may be the last act
    try:
        if config.reuses_hidden_states:
            data.cache_hidden_states(module.network, trainer)
        rank_zero_only(explain_cache)(config)
        rank_zero_only(announce)(trainer, module)
        known = resumed is not None and not config.model.fixed_features  # in the checkpoint
        standardizes = config.model.standardize != Standardize.none
        if standardizes and config.init_from is None and not known:
            module.network.to(trainer.strategy.root_device)  # pyright: ignore[reportArgumentType]
            prepare_head(module.network, data, config)
        if not config.model.only_fits:
            fit(trainer, module, data, config)
        if not config.trainer.fast_dev_run:
            finish_epoch(trainer, module, data)
    finally:
        recorder.write(trainer)


def fit(
    trainer: Trainer, module: EmotionClassifier, data: EmotionDataModule, config: TrainConfig
) -> None:
    """Train. Raises KeyboardInterrupt for Ctrl-C, SystemExit for SIGTERM and SIGHUP, and
    TrainingError if the memory of the GPU is too small.
    """
    try:
        trainer.fit(module, data, ckpt_path=config.ckpt)
    except torch.OutOfMemoryError as error:
        accumulated = config.trainer.accumulate_grad_batches
        raise TrainingError(explain_memory(error, config.data.batch_size, accumulated)) from error
    except SystemExit as error:
        if error.code in {128 + number for number in STOP_SIGNALS}:
            raise
        # Lightning 2.6 turns a Ctrl-C before the first step into a silent exit.
        raise KeyboardInterrupt from error
    log.info("Training ended: %s", describe_end(trainer))


def describe_end(trainer: Any) -> str:
    """Why training ended."""
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping) and callback.stopped_epoch:
            metric = name_metric(callback.monitor)
            return f"{metric} did not improve in {callback.patience} validations"
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return f"trainer.max_steps={trainer.max_steps} reached"
    if trainer.max_epochs and 0 < trainer.max_epochs <= trainer.current_epoch:
        return f"trainer.max_epochs={trainer.max_epochs} reached"
    return "trainer.max_time reached" if trainer.should_stop else "stopped"


def flatten_choices(config: TrainConfig) -> dict[str, Any]:
    """The settings that may change a result, by their full keys."""
    settings = to_plain(config)
    names = ("seed", "init_from", "data", "split", "model", "trainer")
    return flatten({name: settings[name] for name in names})


def find_changed(config: TrainConfig, settings: Mapping[str, Any]) -> set[str]:
    """The settings that were typed or have no default value, without UNSHOWN."""
    default = flatten_choices(TrainConfig(output_dir=config.output_dir))
    typed = {key_of(word) for word in config.command}
    return {
        name
        for name, value in settings.items()
        if name in typed or (value != default.get(name) and not name.startswith(UNSHOWN))
    }


def finish_epoch(trainer: Trainer, module: EmotionClassifier, data: EmotionDataModule) -> None:
    """Validate, and save checkpoints, if the last steps came after the last validation."""
    callback: Any = trainer.checkpoint_callback
    if callback is None or module.validated_step == trainer.global_step:
        return
    trainer.validate(module, data, verbose=False)
    best = getattr(callback, "best_model_score", None)
    score = trainer.callback_metrics.get(getattr(callback, "monitor", None) or "")
    if score is not None and (best is None or is_better(score, best, callback.mode)):
        callback.best_model_score = score
        callback.best_model_path = str(Path(callback.dirpath) / f"{callback.filename}.ckpt")
        trainer.save_checkpoint(callback.best_model_path)
    for other in trainer.checkpoint_callbacks:
        if isinstance(other, LastCheckpoint):
            trainer.save_checkpoint(other.path)


def best_path(trainer: Trainer) -> Path:
    """The best checkpoint of a run, which need not exist."""
    callback: Any = trainer.checkpoint_callback
    return Path(getattr(callback, "best_model_path", "") or "none")


def is_better(score: torch.Tensor, best: torch.Tensor, mode: str) -> bool:
    return bool(score > best if mode == "max" else score < best)


def restore_best(trainer: Trainer, finished: Checkpoint) -> None:
    """Take the best checkpoint and its score from the last one of a run that was never closed."""
    callback: Any = trainer.checkpoint_callback
    states = finished.content["callbacks"]
    if callback is not None and callback.state_key in states:
        callback.load_state_dict(states[callback.state_key])


def conclude(trainer: Trainer, config: TrainConfig) -> TrainResult:
    """Log the hyperparameters and the best score, and write the result."""
    callback: Any = trainer.checkpoint_callback
    monitor = getattr(callback, "monitor", None) or ""
    best = getattr(callback, "best_model_path", "") if monitor else ""
    score = getattr(callback, "best_model_score", None) if monitor else None
    result = TrainResult(
        output_dir=Path(config.output_dir),
        checkpoint=Path(best) if best else None,
        monitor=monitor,
        score=float("nan") if score is None else float(score),
    )
    settings = flatten_choices(config)
    log_result(trainer, settings, result.monitor, result.score, find_changed(config, settings))
    if trainer.is_global_zero and not config.trainer.fast_dev_run:
        write_result(result)
    return result
