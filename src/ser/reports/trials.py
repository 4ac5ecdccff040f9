"""The trials of `ser tune`, and the command that trains with the best settings."""

import shlex

import optuna
from optuna.trial import TrialState

from ser.config.callbacks import name_metric
from ser.reports.tables import RIGHT, Table
from ser.reports.terminal import show as print_all
from ser.reports.terminal import show_command
from ser.system.files import shorten
from ser.training.tune import INTERRUPTED, MONITOR, SETTINGS, Search


def show(study: optuna.Study, plan: Search) -> None:
    """Print the trials of a study, best first, and the command."""
    print_all(f"Study {shorten(plan.folder)}", tabulate(study))
    if any(trial.state == TrialState.COMPLETE for trial in study.trials):
        best = study.best_trial.user_attrs[SETTINGS]
        own = [] if plan.config_dir is None else ["--config-dir", str(plan.config_dir)]
        print_all("Train with the best settings:")
        show_command(shlex.join(["ser", "train", *own, *plan.overrides, *best]))


def tabulate(study: optuna.Study) -> Table:
    """The finished trials, best first."""
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    finished.sort(key=lambda trial: (trial.value is None, sign * (trial.value or 0)))
    interrupted = study.user_attrs.get(INTERRUPTED, [])
    rows = [
        [
            " ".join(map(round_setting, trial.user_attrs.get(SETTINGS, []))),
            "" if trial.value is None else f"{trial.value:.3f}",
            str(trial.number),
            INTERRUPTED if trial.number in interrupted else trial.state.name.lower(),
        ]
        for trial in finished
    ]
    columns = ["settings", name_metric(study.user_attrs[MONITOR]), "trial", "state"]
    return Table(columns, rows, alignment=f"l{RIGHT * 2}l")


def round_setting(setting: str) -> str:
    """A setting with its number rounded to four digits; any other setting as it is."""
    key, _, value = setting.partition("=")
    try:
        return f"{key}={float(value):.4g}"
    except ValueError:
        return setting
