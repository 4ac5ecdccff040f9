"""The command `ser`. Each subcommand is in a file of its own.

Subcommands import what they need in their bodies, so that `--help` and errors are immediate.
"""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

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
from ser.commands.errors import exit_interrupted, one_line_errors, reporting_stop, write_utf8
from ser.commands.options import Engine
from ser.commands.words import Command
from ser.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
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


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which says what remains if it is stopped; Typer would say nothing."""

    @wraps(command)
    def run(**options: Any) -> None:
        try:
            with reporting_stop(lambda: describe_remains(command, options)):
                command(**options)
        except KeyboardInterrupt as error:
            exit_interrupted(error)

    return run


CONTINUES = "What is in the cache stays, and the same command continues from there."
REMAINS = {
    prepare.prepare: CONTINUES,
    probe.probe: CONTINUES,
    enroll.enroll: "Nothing was written.",
}


def describe_remains(command: Callable[..., None], options: Mapping[str, Any]) -> str:
    """What remains of a command that is stopped now."""
    if command in REMAINS:
        return REMAINS[command]
    output = options.get("output")
    if options.get("engine") == Engine.ray:
        return f"Finished files stay in {output}, and the same command adds the others."
    return "" if output is None or output.exists() else f"{output} was not written."


@app.command("train", context_settings=HYDRA, add_help_option=False)
@stoppable
def run_train(words: Words = None) -> None:
    """Train a model. `ser train --help` lists all settings."""
    train.main(words or [])


@app.command("evaluate", context_settings=HYDRA, add_help_option=False)
@stoppable
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
):
    app.command(cls=Command)(stoppable(command))
app.command(cls=predict.PredictCommand)(stoppable(predict.predict))
for server in (serve.serve, demo.demo, listen.listen):  # Ctrl-C and SIGTERM are how they end
    app.command(cls=Command)(server)


def main() -> None:
    """The console script `ser`."""
    write_utf8()
    with one_line_errors():
        sys.exit(app())


if __name__ == "__main__":
    main()
