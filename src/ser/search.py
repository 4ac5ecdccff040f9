"""search(...) -> the best settings that Optuna found, over runs of `train`."""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table

from ser.compose import compose_command
from ser.config import TrainConfig
from ser.guards import TrainingError
from ser.search_space import Dimension
from ser.training import train

STORAGE = "study.db"


@dataclass(frozen=True)
class Search:
    """Plain overrides that every trial shares, the dimensions it varies, and where it lies."""

    overrides: list[str]
    space: list[Dimension]
    folder: Path

    def settings(self, trial: optuna.Trial) -> list[str]:
        return [suggest(trial, dimension) for dimension in self.space]

    def compose(self, chosen: list[str], number: int) -> TrainConfig:
        command = [*self.overrides, *chosen]
        where = ["callbacks=quiet", f"output_dir='{self.folder / str(number)}'"]
        config = compose_command("train", [*where, *command], TrainConfig)
        config.command = command
        return config


def search(plan: Search, trials: int) -> optuna.Study:
    """Train until the study holds so many trials, and go on with it where it was stopped.

    TPE (Bergstra et al. 2011) proposes, and a trial that is worse than the median of the others
    at the same validation is pruned. Trials that diverge or run out of memory count as failed.
    """
    config = plan.compose([dimension.sample for dimension in plan.space], 0)
    checkpoint = config.callbacks["checkpoint"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan.folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="ser",
        storage=f"sqlite:///{plan.folder / STORAGE}",
        load_if_exists=True,
        direction="maximize" if checkpoint.mode == "max" else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )
    check_same(study, plan)
    # A study that goes on must not propose its first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    left = trials - sum(trial.state.is_finished() for trial in study.trials)
    if left > 0:
        study.optimize(
            lambda trial: run_trial(trial, plan, checkpoint.monitor),
            n_trials=left,
            catch=TrainingError,
        )
    return study


def check_same(study: optuna.Study, plan: Search) -> None:
    """Raise ValueError where the folder holds a study of something else."""
    described = [*plan.overrides, *map(str, plan.space)]
    known = study.user_attrs.get("described")
    if known not in (None, described):
        raise ValueError(
            f"{plan.folder} holds a study of other settings: name another folder with --folder"
        )
    study.set_user_attr("described", described)


def suggest(trial: optuna.Trial, dimension: Dimension) -> str:
    """One setting for a trial, as it would be typed."""
    key = dimension.key
    if dimension.choices:
        return str(trial.suggest_categorical(key, dimension.choices))
    if dimension.whole:
        low, high = int(dimension.low), int(dimension.high)
        return f"{key}={trial.suggest_int(key, low, high, log=dimension.log)}"
    return f"{key}={trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)!r}"


def run_trial(trial: optuna.Trial, plan: Search, monitor: str) -> float:
    chosen = plan.settings(trial)
    trial.set_user_attr("settings", chosen)
    config = plan.compose(chosen, trial.number)
    logging.getLogger(__name__).info("trial %d: %s", trial.number, " ".join(chosen))
    return train(config, [Pruning(trial, monitor)]).score


class Pruning(Callback):
    """Tell the study the score of each validation; raise TrialPruned where it is hopeless."""

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.trial, self.monitor, self.validations = trial, monitor, 0

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.trial.report(float(trainer.callback_metrics[self.monitor]), self.validations)
        self.validations += 1
        if self.trial.should_prune():
            raise optuna.TrialPruned


def show(study: optuna.Study, plan: Search) -> None:
    """Print the trials, best first, and the command line that trains with the best settings."""
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    finished.sort(key=lambda trial: (trial.value is None, sign * (trial.value or 0)))
    table = Table("trial", "score", "state", "settings", title=str(plan.folder))
    for trial in finished:
        score = "" if trial.value is None else f"{trial.value:.3f}"
        chosen = " ".join(map(shorten, trial.user_attrs.get("settings", [])))
        table.add_row(str(trial.number), score, trial.state.name.lower(), chosen)
    console = Console()
    console.print(table)
    if any(trial.state == optuna.trial.TrialState.COMPLETE for trial in finished):
        best = study.best_trial.user_attrs["settings"]
        command = shlex.join(["python", "train.py", *plan.overrides, *best])
        console.print(f"The best of them again:\n  {command}", soft_wrap=True, markup=False)


def shorten(setting: str) -> str:
    """A number with four digits in place of seventeen."""
    key, _, value = setting.partition("=")
    try:
        return f"{key}={float(value):.4g}"
    except ValueError:
        return setting
