"""What a run writes into its folder besides checkpoints and logs."""

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import yaml
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from ser.config.fields import require_creatable
from ser.config.plain import to_plain
from ser.config.train import LAST_CHECKPOINT, RESULT, TrainConfig
from ser.errors import UserError
from ser.preparation.manifest import Manifest
from ser.system.atomic import is_leftover, naming, remove, write_text
from ser.system.files import shorten

LOCK = ".lock"
PATIENCE = 10  # seconds: the loader processes of a killed run keep its lock for five
# What a run writes before its first checkpoint, with drafts. Other files belong to the user.
WRITTEN_FIRST = (
    *("manifest.csv", "dropped.csv", "corpora.csv", "provenance.json", ".*.csv.*-*-*.tmp"),
    *(".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/.*.yaml.*-*-*.tmp"),
    *("checkpoints/*.ckpt.part", ".provenance.json.*-*-*.tmp"),
    *("tensorboard/events.out.tfevents.*", "tensorboard/hparams.yaml"),
    *("csv/metrics.csv", "csv/hparams.yaml"),
)
LOGGER_FILES = frozenset({"wandb", "mlflow", "mlflow.db"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """The folder of a run, its best checkpoint if one was kept, and the score that chose it.

    `monitor` is the name of the score, val/uar by default.
    """

    output_dir: Path
    checkpoint: Path | None
    monitor: str
    score: float


def refuse_to_overwrite(config: TrainConfig) -> None:
    """Raise UserError if the folder holds another run, or is a file.

    A run that was stopped before its first checkpoint is none, because it cannot be resumed.
    """
    output_dir = Path(config.output_dir)
    folder = shorten(output_dir)
    require_creatable("output_dir", output_dir)
    if config.ckpt is not None or not holds_run(output_dir):
        return
    problem = f"output_dir={folder} already holds a run: name another folder, or"
    saved = sorted((output_dir / LAST_CHECKPOINT.parent).glob("*.ckpt"))
    if saved:
        last = output_dir / LAST_CHECKPOINT
        resume = f"ckpt={shorten(last if last in saved else saved[0])}"
        if not (output_dir / RESULT).exists():
            raise UserError(f"{problem} resume that run by adding {resume}")
        longer = f"train it longer by adding {resume} and a larger trainer.max_epochs"
        raise UserError(f"{problem.replace('a run', 'a finished run')} {longer}")
    checkpoints = any(hasattr(each, "dirpath") for each in config.callbacks.values())
    if (output_dir / RESULT).exists() or not checkpoints:
        raise UserError(f"{problem} remove it, because it has no checkpoint")
    for file in list_remains(output_dir):
        name = file.relative_to(output_dir).as_posix()
        if file.is_symlink() or not any(fnmatchcase(name, each) for each in WRITTEN_FIRST):
            raise UserError(
                f"{problem} move {shorten(file)} elsewhere, which no run has written: this run has"
                " no checkpoint yet, so it can be started again"
            )


def holds_run(output_dir: Path) -> bool:
    return (output_dir / ".hydra").exists() or (output_dir / "checkpoints").exists()


def list_remains(output_dir: Path) -> list[Path]:
    """All files of a run folder, without those of loggers that serve several runs."""
    return [
        path
        for path in sorted(output_dir.rglob("*"))
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(output_dir).parts[0] not in (LOCK, *LOGGER_FILES)
    ]


@contextmanager
def holding_folder(config: TrainConfig) -> Iterator[None]:
    """Keep other runs out of the folder, and remove what a killed run left there.

    Raises UserError if the folder belongs to another run.
    """
    if cast(Any, rank_zero_only).rank != 0:
        yield
        return
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir / LOCK)
    try:
        with naming(output_dir, output_dir / LOCK):
            lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise UserError(f"output_dir={shorten(output_dir)} is in use by another run") from error
    try:
        refuse_to_overwrite(config)  # again: another run may have ended meanwhile
        remove_remains(config)
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            (output_dir / LOCK).unlink()
        lock.release()


def remove_remains(config: TrainConfig) -> None:
    """Remove unfinished checkpoints, and all of a run that has none; call with the lock."""
    output_dir = Path(config.output_dir)
    remove_drafts(output_dir)
    if config.ckpt is None and holds_run(output_dir) and (remains := list_remains(output_dir)):
        log.warning(
            "%s holds a run that was stopped before its first checkpoint: starting it again",
            shorten(output_dir),
        )
        for file in remains:
            file.unlink()


def remove_drafts(output_dir: Path) -> None:
    """Remove the files that a killed run was writing; call only if the run has ended."""
    for draft in [*output_dir.rglob(".*.tmp"), *output_dir.glob("checkpoints/*.ckpt.part")]:
        if draft.suffix == ".part" or is_leftover(draft):
            remove(draft)


@rank_zero_only
def record(manifest: Manifest, config: TrainConfig) -> None:
    """Write the data and the settings of the run before it starts."""
    output_dir = Path(config.output_dir)
    (output_dir / ".hydra").mkdir(exist_ok=True)
    (output_dir / RESULT).unlink(missing_ok=True)  # a resumed run is no longer finished
    manifest.write(output_dir)
    settings = {"config": to_plain(config), "overrides": config.command}
    for name, content in settings.items():
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(output_dir / ".hydra" / f"{name}.yaml", text)


def write_result(result: TrainResult) -> None:
    """Write `result.json`, which marks a run as finished."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(result).items()}
    if math.isnan(result.score):
        plain["score"] = None
    del plain["output_dir"]
    write_text(result.output_dir / RESULT, json.dumps(plain, indent=2) + "\n")
