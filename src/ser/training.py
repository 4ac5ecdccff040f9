"""train(config) -> where the best checkpoint lies and how good it is."""

import logging
import os
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from ser import provenance, report
from ser.audio import SAMPLE_RATE
from ser.compose import to_plain
from ser.config import TrainConfig
from ser.data import EmotionDataModule
from ser.manifest import Manifest
from ser.model import (
    Blueprint,
    build_feature_extractor,
    build_network,
    plain,
    read_checkpoint,
)
from ser.module import EmotionClassifier
from ser.preparation import prepare
from ser.trainer_config import TrainerConfig
from ser.tuning import set_trainable

# With these changed, resumed training would be something else than either run.
FIXED_WHEN_RESUMED = frozenset(
    {"seed", "data.batch_size", "data.max_seconds", "data.padding", "data.corpora"}
    | {"data.labels", "data.merge"}
    | {"trainer.accumulate_grad_batches"}
)


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


def train(config: TrainConfig) -> TrainResult:
    """Prepare the data, fit, and keep the best and the last checkpoint in `output_dir`.

    Raises ValueError or OSError, in one sentence, for what the user can mend.
    """
    quieten()
    seed_everything(config.seed, workers=True, verbose=False)
    refuse_to_overwrite(Path(config.output_dir), config.ckpt)
    trainer = build_trainer(config.trainer)  # first: what the machine has not is known at once
    manifest = prepare(config.data, config.split)
    rank_zero_only(report.show_data)(manifest, config.data)
    module, data = build(config, manifest)
    if config.ckpt is not None:
        check_resumable(Path(config.ckpt), config, module)
    record(manifest, config)
    started = time.monotonic()
    fit(trainer, module, data, config)
    if not config.trainer.fast_dev_run:
        finish_epoch(trainer, module, data)
    on_gpu = isinstance(trainer.accelerator, CUDAAccelerator)
    observed = provenance.observe(time.monotonic() - started, on_gpu=on_gpu)
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
    module = EmotionClassifier(network, blueprint, config.model)
    return module, EmotionDataModule(manifest, config.data, feature_extractor, config.seed)


def build_trainer(config: TrainerConfig) -> Trainer:
    """Lightning's trainer; raises ValueError where it cannot have what the settings ask for."""
    try:
        return instantiate(replace(config, precision=resolve_precision(config)))
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
    if os.environ.get("LOCAL_RANK", "0") == "0" and ckpt is None and taken:
        raise ValueError(
            f"output_dir={folder} already holds a run: name another folder, or go on with that run"
            f" by adding ckpt={folder / 'checkpoints' / 'last.ckpt'}"
        )


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
        report.write_text(output_dir / ".hydra" / f"{name}.yaml", text)


def check_resumable(ckpt: Path, config: TrainConfig, module: EmotionClassifier) -> None:
    """Raise ValueError where a checkpoint does not fit these settings, or has nothing left to do.

    The optimiser is restored, and the schedule is stretched to the new number of steps.
    """
    then, now = read_checkpoint(ckpt)[0], Blueprint(**module.hparams)
    before, after = flatten(then.config), flatten(now.config)
    for key in sorted(before.keys() | after.keys()):
        fixed = key.startswith(("model.", "split.")) or key in FIXED_WHEN_RESUMED
        if fixed and before.get(key) != after.get(key):
            raise ValueError(f"ckpt={ckpt} was trained with {key}={before.get(key)}: keep it so")
    if (then.labels, then.manifest) != (now.labels, now.manifest):
        raise ValueError(f"ckpt={ckpt} was trained on other data: the corpora have changed since")
    progress = torch.load(ckpt, weights_only=True, map_location="cpu", mmap=True)
    if not progress.get("optimizer_states"):
        raise ValueError(f"ckpt={ckpt} holds no optimiser state: it can be evaluated, not resumed")
    batches = progress["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    epochs = progress["epoch"] + bool(batches["is_last_batch"])
    for done, key in ((epochs, "max_epochs"), (progress["global_step"], "max_steps")):
        limit = getattr(config.trainer, key)
        if limit != -1 and done >= limit:
            raise ValueError(f"ckpt={ckpt} is done, trainer.{key}={limit}: give more to go on")


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full keys."""
    flat = {}
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def fit(
    trainer: Trainer, module: EmotionClassifier, data: EmotionDataModule, config: TrainConfig
) -> None:
    """Train. Raises KeyboardInterrupt for Ctrl-C and SystemExit(143) for SIGTERM.

    Lightning 2.6 turns both into a silent exit.
    """
    last = report.shorten(Path(config.output_dir) / "checkpoints" / "last.ckpt")
    try:
        trainer.fit(module, data, ckpt_path=config.ckpt)
    except SystemExit as error:
        if not trainer.received_sigterm:
            raise KeyboardInterrupt(f"To go on: python train.py ckpt={last}") from error
    if trainer.received_sigterm:
        log.warning("Terminated. To go on: python train.py ckpt=%s", last)
        raise SystemExit(143)


def finish_epoch(trainer: Trainer, module: EmotionClassifier, data: EmotionDataModule) -> None:
    """Validate and save what was trained since the last validation.

    Lightning 2.6 ends a run by max_steps or max_time without either, and the work would be lost.
    """
    callback: Any = trainer.checkpoint_callback
    if callback is None or module.validated_step == trainer.global_step:
        return
    trainer.validate(module, data, verbose=False)
    best, score = callback.best_model_score, trainer.callback_metrics.get(callback.monitor)
    better = torch.gt if callback.mode == "max" else torch.lt
    if score is not None and (best is None or better(score, best)):
        callback.best_model_score = score
        callback.best_model_path = str(Path(callback.dirpath) / f"{callback.filename}.ckpt")
        trainer.save_checkpoint(callback.best_model_path)
    trainer.save_checkpoint(Path(callback.dirpath) / "last.ckpt")


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
    chosen = {name: settings[name] for name in ("seed", "data", "split", "model")}
    logger.log_hyperparams(chosen, {f"best/{result.monitor}": result.score})
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
        r".*treespec, LeafSpec.*",  # inside Lightning 2.6 itself
    ):
        warnings.filterwarnings("ignore", message=message)
