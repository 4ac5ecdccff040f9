"""`ser tune`"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ser.commands.errors import one_line_errors, reporting_stop
from ser.commands.options import ConfigDir, Overrides, refuse_settings
from ser.errors import optional_dependency, require
from ser.system.terminal import say, show_logs

TUNE = Path("runs/tune")


def tune(
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, help="Total number of trials.")] = 20,
    output: Annotated[Path, typer.Option(help="Folder of the study and its runs.")] = TUNE,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
    config_dir: ConfigDir = None,
) -> None:
    """Search for better settings with Optuna; the same command resumes a search.

    Ranges are written as 'model.lr=tag(log, interval(1e-6, 1e-4))' or
    data.batch_size=8,16,32. Without one, those of conf/tune.yaml are searched.
    """
    from ser.config.compose import compose_command
    from ser.config.overrides import CONF
    from ser.config.train import TrainConfig
    from ser.training.search_space import read_space

    if folder is not None:
        say("--folder is deprecated; use --output", error=True)
        output = folder
    refuse_settings(overrides, output_dir="the folder is set by --output", ckpt="it resumes no run")
    plain, dimensions = read_space(overrides or [], CONF / "tune.yaml")
    by_default = len(plain) == len(overrides or [])
    if not any(override.startswith("trainer.devices=") for override in plain):
        plain.append("trainer.devices=1")

    def compose(*chosen: str) -> TrainConfig:
        settings = [*plain, *chosen, f"output_dir={output}"]
        return compose_command("train", settings, TrainConfig, config_dir)

    space = [dimension.resolve(compose()) for dimension in dimensions]
    config = compose(*(dimension.sample for dimension in space))
    rule = "a fitted head needs a range, such as model.layer=2,3,4"
    require(not (config.model.only_fits and by_default), "model.fit", config.model.fit, rule)
    with optional_dependency("tune"):
        # Heavy, so only after the config was checked.
        from ser.reports.trials import show
        from ser.training.tune import Search, search

    plan = Search(plain, space, output, config_dir)
    own = [] if config_dir is None else ["--config-dir", str(config_dir)]
    same = ["ser", "tune", *own, "--trials", str(trials), "--output", str(output)]
    command = shlex.join([*same, *(overrides or [])])
    show_logs("ser.training.tune")  # each trial with its settings
    with one_line_errors(), reporting_stop(lambda: f"To resume: {command}"):
        show(search(plan, trials), plan)
