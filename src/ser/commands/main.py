"""The command `ser`. Each subcommand is in a file of its own.

Subcommands import what they need in their bodies, so that `--help` and errors are immediate.
"""

import sys
from typing import Annotated

import typer

from ser.commands import (
    baseline,
    compare,
    demo,
    embed,
    enroll,
    ensemble,
    evaluate,
    export,
    listen,
    predict,
    prepare,
    probe,
    serve,
    train,
    tune,
)
from ser.commands.errors import one_line_errors, write_utf8
from ser.commands.words import Command
from ser.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Speech emotion recognition: prepare data, train, evaluate, predict, export and serve.",
)
# Hydra reads the arguments of these two, also --help and options that Typer does not know.
HYDRA = {"ignore_unknown_options": True, "help_option_names": []}
Words = Annotated[
    list[str] | None, typer.Argument(metavar="[OPTIONS] [KEY=VALUE]...", show_default=False)
]


def show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ser {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command("train", context_settings=HYDRA, add_help_option=False)
def run_train(words: Words = None) -> None:
    """Train a model. `ser train --help` lists all settings."""
    train.main(words or [])


@app.command("evaluate", context_settings=HYDRA, add_help_option=False)
def run_evaluate(words: Words = None) -> None:
    """Evaluate a trained model. `ser evaluate --help` lists all settings."""
    evaluate.main(words or [])


for command in (
    prepare.prepare,
    probe.probe,
    embed.embed,
    baseline.baseline,
    ensemble.ensemble,
    enroll.enroll,
    export.export,
    compare.compare,
    tune.tune,
    serve.serve,
    demo.demo,
    listen.listen,
):
    app.command(cls=Command)(command)
app.command(cls=predict.PredictCommand)(predict.predict)


def main() -> None:
    """The console script `ser`."""
    write_utf8()
    with one_line_errors():
        sys.exit(app())


if __name__ == "__main__":
    main()
