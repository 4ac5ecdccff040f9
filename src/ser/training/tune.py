"""search(...) -> an Optuna study over runs of `train`, which can be stopped and resumed.

Several processes can work on one study: each claims a trial under a lock and holds a lock of the
trial while it runs, so that the trials of killed processes are recognised and repeated.
"""

import errno
import logging
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ser.config.callbacks import mode_of
from ser.config.compose import compose_command
from ser.config.train import TrainConfig
from ser.errors import UserError, first_line
from ser.training.module import TrainingError
from ser.training.run_folder import LOCK, remove_drafts
from ser.training.search_space import Dimension
from ser.training.train import train

STORAGE = "study.db"
STUDY = "ser"
# Attributes of the study: the numbers of trials that do not count, and the metric.
INTERRUPTED, MONITOR = "interrupted", "monitor"
SETTINGS, REPEATS = "settings", "repeats"  # of a trial: as typed; the trial that it repeats
DATABASE_TIMEOUT = 30  # seconds to wait for another process that writes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """The overrides that all trials share, the dimensions that vary, and the folder of the study.

    `config_dir` is a folder with further configs.
    """

    overrides: list[str]
    space: list[Dimension]
    folder: Path
    config_dir: Path | None = None

    def settings(self, trial: optuna.Trial) -> list[str]:
        return [suggest(trial, dimension) for dimension in self.space]

    def compose(self, chosen: list[str], number: int) -> TrainConfig:
        command = [*self.overrides, *chosen]
        where = ["callbacks=quiet", f"output_dir={self.folder / str(number)}"]
        config = compose_command("train", [*where, *command], TrainConfig, self.config_dir)
        config.command = command
        return config

    def lock(self, name: object = "study") -> FileLock:
        return FileLock(self.folder / f"{name}.lock")


def search(plan: Search, trials: int) -> optuna.Study:
    """Train until the study holds this number of trials, and return the study.

    TPE (Bergstra et al. 2011) proposes settings. A trial that is worse than the median of the
    others at the same validation is pruned. Trials that diverge or run out of memory count as
    failed. An interrupted trial does not count, and is repeated with its values. Raises UserError
    for a database that cannot be used.
    """
    config = plan.compose([dimension.sample for dimension in plan.space], 0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with readable_database(plan):
        with plan.lock():
            study = open_study(plan, config.monitor)
        while (claimed := claim(study, plan, trials, config.seed)) is not None:
            with claimed as trial:
                run_trial(study, trial, plan, config.monitor)
    return study


def open_study(plan: Search, monitor: str) -> optuna.Study:
    """Create or load the study; raises UserError if the folder holds another one."""

    def connect() -> sqlite3.Connection:  # by path: ? and # have a meaning in database addresses
        file = plan.folder / STORAGE
        return sqlite3.connect(file, timeout=DATABASE_TIMEOUT, check_same_thread=False)

    storage = optuna.storages.RDBStorage(f"sqlite:///{STORAGE}", engine_kwargs={"creator": connect})
    study = optuna.create_study(
        study_name=STUDY,
        storage=storage,
        load_if_exists=True,
        direction="maximize" if mode_of(monitor) == "max" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )
    described = [*plan.overrides, *map(str, plan.space)]
    known = study.user_attrs.get("described")
    if known not in (None, described):
        raise UserError(
            f"{plan.folder} holds a study of other settings: choose another folder with --output"
        )
    study.set_user_attr("described", described)
    study.set_user_attr(MONITOR, monitor)
    return study


@contextmanager
def readable_database(plan: Search) -> Iterator[None]:
    """Turn errors of the database into a UserError that names its file."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause: BaseException = error
        while isinstance(cause, StorageInternalError | SQLAlchemyError):
            inner = getattr(cause, "orig", None) or cause.__cause__ or cause.__context__
            if inner is None:
                break
            cause = inner
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), str(plan.folder / STORAGE)) from error
        raise UserError(
            f"{plan.folder / STORAGE} cannot be used ({first_line(cause)}): close other"
            " programs that write to it, or choose another folder with --output"
        ) from error


def claim(study: optuna.Study, plan: Search, trials: int, seed: int) -> Any:
    """A context manager with the next trial, or None if there are enough of them.

    It holds the lock of the trial until the end of the block.
    """
    with plan.lock():
        for trial in study.get_trials():
            if is_abandoned(plan, trial):
                discard(study, plan, trial)
        if count_trials(study) >= trials:
            return None
        repeat_interrupted(study)
        # A resumed study must not propose its first trials again.
        study.sampler = optuna.samplers.TPESampler(seed=seed + count_draws(study))
        trial = study.ask()
        trial.set_user_attr(SETTINGS, plan.settings(trial))
        lock = plan.lock(trial.number)
        lock.acquire()
    return held(lock, trial)


def repeat_interrupted(study: optuna.Study) -> None:
    """Let the next trial have the values of an interrupted one that was not repeated yet."""
    everything, interrupted = study.get_trials(), study.user_attrs.get(INTERRUPTED, [])
    repeated = {trial.user_attrs.get(REPEATS) for trial in everything}
    for trial in everything:
        known = {SETTINGS: trial.user_attrs.get(SETTINGS), REPEATS: trial.number}
        if trial.number in interrupted and trial.number not in repeated and known[SETTINGS]:
            study.enqueue_trial(trial.params, known)
            return


def count_draws(study: optuna.Study) -> int:
    """How many trials have values of their own, all of which were proposed."""
    found = [trial.user_attrs for trial in study.get_trials()]
    return sum(SETTINGS in each and REPEATS not in each for each in found)


@contextmanager
def held(lock: FileLock, trial: optuna.Trial) -> Iterator[optuna.Trial]:
    try:
        yield trial
    finally:
        lock.release()


def count_trials(study: optuna.Study) -> int:
    """How many trials are finished or running, without those that were interrupted."""
    interrupted = study.user_attrs.get(INTERRUPTED, [])
    return sum(
        trial.state != TrialState.WAITING and trial.number not in interrupted
        for trial in study.get_trials()
    )


def is_abandoned(plan: Search, trial: FrozenTrial) -> bool:
    """Whether a trial is marked as running and its process has died: nobody holds its lock."""
    if trial.state != TrialState.RUNNING:
        return False
    lock = plan.lock(trial.number)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def discard(study: optuna.Study, plan: Search, trial: FrozenTrial) -> None:
    """Mark an abandoned trial as interrupted, and remove what its process was writing."""
    folder = plan.folder / str(trial.number)
    remove_drafts(folder)
    (folder / LOCK).unlink(missing_ok=True)
    interrupt(study, trial.number)


def interrupt(study: optuna.Study, number: int) -> None:
    """Mark a trial as failed and not counting; call with the lock of the study."""
    study.set_user_attr(INTERRUPTED, [*study.user_attrs.get(INTERRUPTED, []), number])
    study.tell(number, state=TrialState.FAIL)


def run_trial(study: optuna.Study, trial: optuna.Trial, plan: Search, monitor: str) -> None:
    """Train one trial and tell the study its score."""
    try:
        chosen = trial.user_attrs[SETTINGS]
        log.info("trial %d: %s", trial.number, " ".join(chosen))
        score = train(plan.compose(chosen, trial.number), [Pruning(trial, monitor)]).score
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except TrainingError as error:
        log.warning("trial %d failed: %s", trial.number, error)
        study.tell(trial, state=TrialState.FAIL)
    except BaseException:  # Ctrl-C, SIGTERM, a full disk, a bug
        with plan.lock():
            interrupt(study, trial.number)
        raise
    else:
        state = TrialState.FAIL if math.isnan(score) else TrialState.COMPLETE
        study.tell(trial, None if math.isnan(score) else score, state=state)


class Pruning(Callback):
    """Report the score of each validation to the study; raise TrialPruned if it is hopeless."""

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.trial, self.monitor, self.validations = trial, monitor, 0

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        self.trial.report(float(trainer.callback_metrics[self.monitor]), self.validations)
        self.validations += 1
        if self.trial.should_prune():
            raise optuna.TrialPruned


def suggest(trial: optuna.Trial, dimension: Dimension) -> str:
    """One setting for a trial, as it would be typed."""
    key = dimension.key
    if dimension.choices:
        return str(trial.suggest_categorical(key, dimension.choices))
    if dimension.whole:
        low, high = int(dimension.low), int(dimension.high)
        return f"{key}={trial.suggest_int(key, low, high, log=dimension.log)}"
    return f"{key}={trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)!r}"
