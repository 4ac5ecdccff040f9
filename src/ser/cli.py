"""The command `ser`: what is done besides training and evaluating.

Each command imports what it needs in its own body, so `--help` and mistakes answer at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ser.errors import one_line_errors

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Speech emotion recognition: prepare data, and use what was trained.",
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings as for train.py: data=ravdess data.max_seconds=5 ..."),
]

TUNE = Path("runs/tune")


@app.callback()
def describe() -> None:
    """Keep the commands named even while there is only one."""


@app.command()
def prepare(overrides: Overrides = None) -> None:
    """Download, decode, clean and split the data ahead of training, and write its data card."""
    from ser.compose import compose_command
    from ser.config import TrainConfig

    settings = compose_command("train", overrides or [], TrainConfig)
    from ser import preparation, report  # heavy, so only once the settings are known to be good

    report.show_data(preparation.prepare(settings.data, settings.split), settings.data)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or report folders.")],
    output: Annotated[
        Path | None, typer.Option(help="Also write comparison.html and comparison.md here.")
    ] = None,
) -> None:
    """Put runs beside each other, with intervals and tests of their differences to the first."""
    from ser import comparison
    from ser.runs import read_run

    found = comparison.compare([read_run(run) for run in runs])
    comparison.show(found)
    if output is not None:
        comparison.write(found, output)
        print(f"Written: {output / 'comparison.html'}")


@app.command()
def tune(
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all.")] = 20,
    folder: Annotated[Path, typer.Option(help="Where the study and its runs lie.")] = TUNE,
) -> None:
    """Search for better settings with Optuna, and go on with a search that was stopped.

    Ranges are written as in Hydra's sweeps: 'model.lr=tag(log, interval(1e-6, 1e-4))',
    data.batch_size=8,16,32. Where none is given, conf/tune.yaml says what is searched.
    """
    from ser.compose import CONF, compose_command
    from ser.config import TrainConfig
    from ser.search_space import read_space

    plain, space = read_space(overrides or [], CONF / "tune.yaml")
    if not any(override.startswith("trainer.devices=") for override in plain):
        plain.append("trainer.devices=1")
    samples = [dimension.sample for dimension in space]
    compose_command("train", [*plain, *samples, f"output_dir={folder}"], TrainConfig)
    try:
        from ser import search  # heavy, so only once the settings are known to be good
    except ModuleNotFoundError as error:
        raise OSError(f"{error.name} is not installed: pip install 'ser[tune]'") from error

    plan = search.Search(plain, space, folder)
    search.show(search.search(plan, trials), plan)


def main() -> None:
    with one_line_errors():
        sys.exit(app())


if __name__ == "__main__":
    main()
