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


def main() -> None:
    with one_line_errors():
        sys.exit(app())


if __name__ == "__main__":
    main()
