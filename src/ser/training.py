"""train(config) -> where the best checkpoint lies and how good it is."""

import logging
import signal
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from ser import card, history, provenance, report
from ser.acceleration import accelerate, explain_memory
from ser.atomic import write_text
from ser.audio import SAMPLE_RATE
from ser.compose import refuse_in_sweep, to_plain
from ser.config import TrainConfig
from ser.data import EmotionDataModule
from ser.guards import TrainingError
from ser.last_checkpoint import AtomicCheckpointIO, LastCheckpoint
from ser.losses import weigh_classes
from ser.manifest import Manifest
from ser.model import (
    Blueprint,
    build_feature_extractor,
    build_network,
    plain,
    run_folder,
)
from ser.module import EmotionClassifier
from ser.preparation import prepare
from ser.resume import check_resumable, flatten
from ser.trainer_config import TrainerConfig
from ser.tuning import set_trainable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """The folder of a run, its best checkpoint if one was kept, and what that scored in it.

    `monitor` is the name of the score, val/uar unless `callbacks.checkpoint.monitor` says other.
    """

    output_dir: Path
    checkpoint: Path | None
    monitor: str
    score: float


def train(config: TrainConfig, callbacks: Sequence[Callback] = ()) -> TrainResult:
    """Prepare the data, fit, and keep the best and the last checkpoint in `output_dir`.

    `callbacks` watch it besides those of the settings.

    Raises ValueError or OSError, in one sentence, for what the user can mend.
    """
    quieten()
    seed_everything(config.seed, workers=True, verbose=False)
    rank_zero_only(refuse_to_overwrite)(Path(config.output_dir), config.ckpt)
    trainer = build_trainer(config.trainer)  # first: what the machine has not is known at once
    layerdrop = config.model.backbone.layerdrop
    if layerdrop > 0 and trainer.world_size > 1:  # DDP waits for the gradients of skipped layers
        raise ValueError(f"model.backbone.layerdrop={layerdrop}: only with trainer.devices=1")
    cast(Any, trainer).callbacks.extend(callbacks)
    refuse_in_sweep(starts_processes=trainer.strategy.launcher is not None)
    manifest = prepare(config.data, config.split)
    rank_zero_only(card.show)(card.Card(manifest, config.data, config.split))
    module, data = build(config, manifest)
    if config.ckpt is not None:
        data.start = check_resumable(
            Path(config.ckpt), config, Blueprint(**module.hparams), trainer.world_size
        )
    record(manifest, config)
    before = None if config.ckpt is None else provenance.read(run_folder(Path(config.ckpt)))
    beginning = provenance.begin(provenance.gpus_of(trainer))
    try:
        if config.reuses_hidden_states:
            data.keep_hidden_states(module.network, trainer)
        elif config.model.freezes_layers and config.model.cache_hidden_states:
            log.info("hidden states are not kept: SpecAugment or augmentation changes them")
        fit(trainer, module, data, config)
        if not config.trainer.fast_dev_run:
            finish_epoch(trainer, module, data)
    finally:  # a leg that was stopped counts too
        observed = provenance.observe(beginning, before)
        with suppress(OSError):  # on a full disk, what failed before is what has to be said
            rank_zero_only(provenance.write)(observed, Path(config.output_dir))
    return conclude(trainer, config)


def build(config: TrainConfig, manifest: Manifest) -> tuple[EmotionClassifier, EmotionDataModule]:
    """The module with its network, and the data it is fed."""
    network = build_network(config.model, config.data.label_space)
    set_trainable(network, config.model)
    feature_extractor = build_feature_extractor(config.model.backbone)
    blueprint = Blueprint(
        config=to_plain(config),
        labels=config.data.label_space,
        sample_rate=SAMPLE_RATE,
        network=plain(network.config),
        feature_extractor=plain(feature_extractor),
        manifest=manifest.fingerprint,
    )
    accelerate(network, config.model)
    emotions = manifest.part("train")["emotion"].tolist()
    weights = weigh_classes(config.model, blueprint.labels, emotions)
    module = EmotionClassifier(network, blueprint, config.model, weights)
    return module, EmotionDataModule(manifest, config.data, feature_extractor, config.seed)


def build_trainer(config: TrainerConfig) -> Trainer:
    """Lightning's trainer; raises ValueError where it cannot have what the settings ask for."""
    plugins: list[Any] = [AtomicCheckpointIO()]
    if SLURMEnvironment.detect():
        # Lightning 2.6 would put a checkpoint of its own into the working folder when Slurm takes
        # the job away, and silently prefer it to `ckpt` from then on.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        settings = replace(config, precision=resolve_precision(config))
        return instantiate(settings, plugins=plugins)
    except InstantiationException as error:
        hint = "see trainer.accelerator, trainer.devices, trainer.strategy, trainer.precision"
        raise ValueError(f"trainer: {error.__cause__ or error} ({hint})") from error


def resolve_precision(config: TrainerConfig) -> str:
    """`auto` is bf16 mixed precision where the device computes in it, else full precision."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available() and config.accelerator in ("auto", "gpu", "cuda"):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "32-true"
    on_cpu = config.accelerator == "cpu" or not torch.backends.mps.is_available()
    # On an older CPU bf16 is emulated, and slower than full precision.
    return "bf16-mixed" if on_cpu and torch.cpu._is_avx512_bf16_supported() else "32-true"


def refuse_to_overwrite(output_dir: Path, ckpt: str | None) -> None:
    """Raise ValueError where the folder holds another run, or is none."""
    folder = report.shorten(output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise ValueError(f"output_dir={folder} is a file; name a folder")
    taken = (output_dir / ".hydra").exists() or (output_dir / "checkpoints").exists()
    if ckpt is None and taken:
        last = output_dir / "checkpoints" / "last.ckpt"
        hint = "remove it, for it has no checkpoint yet"
        if last.exists():
            hint = f"go on with that run by adding ckpt={report.shorten(last)}"
        raise ValueError(f"output_dir={folder} already holds a run: name another folder, or {hint}")


@rank_zero_only
def record(manifest: Manifest, config: TrainConfig) -> None:
    """Write down what the run is about to be trained on, and with what settings."""
    output_dir = Path(config.output_dir)
    # Two runs may have started at once: the folder is of the one that makes this.
    try:
        (output_dir / ".hydra").mkdir(parents=True, exist_ok=config.ckpt is not None)
    except FileExistsError as error:
        raise ValueError(f"output_dir={output_dir} was taken by another run meanwhile") from error
    manifest.write(output_dir)
    settings = {"config": to_plain(config), "overrides": config.command}
    for name, content in settings.items():
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(output_dir / ".hydra" / f"{name}.yaml", text)


def fit(
    trainer: Trainer, module: EmotionClassifier, data: EmotionDataModule, config: TrainConfig
) -> None:
    """Train. Raises KeyboardInterrupt for Ctrl-C, SystemExit(143) for SIGTERM, and
    TrainingError where the memory of the GPU is too small.
    """
    last = report.shorten(Path(config.output_dir) / "checkpoints" / "last.ckpt")
    try:
        trainer.fit(module, data, ckpt_path=config.ckpt)
    except torch.OutOfMemoryError as error:
        accumulated = config.trainer.accumulate_grad_batches
        raise TrainingError(explain_memory(error, config.data.batch_size, accumulated)) from error
    except SystemExit as error:
        if error.code == 128 + signal.SIGTERM:
            log.warning("Terminated. To go on: python train.py ckpt=%s", last)
            raise
        # Lightning 2.6 turns a Ctrl-C that came before the first step into a silent exit.
        raise KeyboardInterrupt(f"To go on: python train.py ckpt={last}") from error


def finish_epoch(trainer: Trainer, module: EmotionClassifier, data: EmotionDataModule) -> None:
    """Validate and save what was trained since the last validation, if its turn had not come."""
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


def is_better(score: torch.Tensor, best: torch.Tensor, mode: str) -> bool:
    return bool(score > best if mode == "max" else score < best)


def conclude(trainer: Trainer, config: TrainConfig) -> TrainResult:
    """Log the hyperparameters beside the final metric, and say where the run lies."""
    callback: Any = trainer.checkpoint_callback
    monitor = getattr(callback, "monitor", None) or ""
    best = callback.best_model_path if monitor else ""
    score = callback.best_model_score if monitor else None
    result = TrainResult(
        output_dir=Path(config.output_dir),
        checkpoint=Path(best) if best else None,
        monitor=monitor,
        score=float("nan") if score is None else float(score),
    )
    if isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
        log_run(trainer.logger, config, result)
    if trainer.is_global_zero:
        report.show_run(result.output_dir, result.checkpoint, result.monitor, result.score)
    return result


def log_run(logger: TensorBoardLogger, config: TrainConfig, result: TrainResult) -> None:
    settings = to_plain(config)
    text = yaml.safe_dump(settings, sort_keys=False)
    logger.experiment.add_text("config", f"```yaml\n{text}```")
    chosen = flatten({name: settings[name] for name in ("seed", "data", "split", "model")})
    history.log_settings(logger.experiment, chosen, f"best/{result.monitor}", result.score)
    logger.save()


def quieten() -> None:
    """Silence what Lightning says that is either known here or no advice for this project."""
    for name in ("lightning.pytorch", "lightning.fabric", "matplotlib.font_manager"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own
    for message in (
        r".*does not have many workers.*",  # the cache reads a batch in a millisecond
        r".*number of training batches .* is smaller than the logging interval.*",
        r"Checkpoint directory .* exists and is not empty.*",  # a resumed run, as asked for
        r"The dirpath has changed.*",  # resumed into a new run folder: `best` starts afresh there
        r".*You are using a custom batch sampler.*",  # ours leaves nothing out
        r".*sync_dist=True.*",  # every device validates everything
        r"Found \d+ module\(s\) in eval mode.*",  # what is frozen, on purpose
        r".*resuming from a checkpoint that ended before the epoch ended.*",  # see `ser.sampler`
        r".*treespec, LeafSpec.*",  # inside Lightning 2.6 itself
    ):
        warnings.filterwarnings("ignore", message=message)
