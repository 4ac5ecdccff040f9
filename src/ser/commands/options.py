"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ser.config.precision import Precision, parse_precision
from ser.errors import UserError
from ser.system.terminal import say


class Target(StrEnum):
    hf = "hf"
    onnx = "onnx"


class Engine(StrEnum):
    local = "local"
    ray = "ray"


RAY = "With --engine ray"

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings as for `ser train`: data=ravdess data.max_seconds=5 ...",
    ),
]
ConfigDir = Annotated[
    Path | None, typer.Option(help="Folder with your own configs, such as data/mine.yaml.")
]
MODEL = "Run folder (its best checkpoint), .ckpt file, exported folder, or OWNER/NAME on the hub."
Ckpt = Annotated[str, typer.Option(help=MODEL)]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all interfaces.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


def read_precision(name: str) -> Precision:
    """The precision of an option, also by its names of earlier versions."""
    try:
        return parse_precision(name, "--precision")
    except UserError as error:
        raise typer.BadParameter(str(error)) from error


Computing = Annotated[
    Precision,
    typer.Option(
        "--precision",
        parser=read_precision,
        metavar="|".join(Precision),
        help="auto: bf16 if the device computes in it and the results are nearly those of fp32.",
    ),
]
Raw = Annotated[
    bool, typer.Option("--raw", help="Probabilities without temperature scaling (calibration).")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Windows per batch.")]
Speeds = Annotated[
    list[float] | None,
    typer.Option(
        "--speed",
        help="Average over this playback speed; repeatable: --speed 0.9 --speed 1 --speed 1.1."
        " Three speeds take three times as long.",
    ),
]
Megabytes = Annotated[float, typer.Option("--max-megabytes", help="Maximum size of an upload.")]
Seconds = Annotated[
    float, typer.Option("--max-seconds", help="Maximum duration of a recording in seconds.")
]
Waiting = Annotated[
    int, typer.Option("--max-waiting", help="Maximum number of recordings waiting or in progress.")
]
Token = Annotated[
    str | None, typer.Option(envvar="SER_TOKEN", help="Token that clients must send.")
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(help="Host name of a reverse proxy that forwards requests; repeatable."),
]
RootPath = Annotated[str, typer.Option(help="Path prefix of a reverse proxy, such as /ser.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of workers; default: one per GPU, or one per machine without GPUs.",
        rich_help_panel=RAY,
    ),
]
ShardSize = Annotated[
    int | None,
    typer.Option(min=1, help="Recordings per result file; default: 1000.", rich_help_panel=RAY),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster (auto, ray://...); default: RAY_ADDRESS, else start one"
        " here.",
        rich_help_panel=RAY,
    ),
]
Speaker = Annotated[
    str | None, typer.Option(help="Adapt predictions to this speaker (see `ser enroll`).")
]


def refuse_settings(overrides: list[str] | None, **reasons: str) -> None:
    """Raise UserError for an override of a setting that a command does not use; reasons by key."""
    from ser.config.plain import key_of  # Hydra, which few commands need

    for word in overrides or []:
        if reason := reasons.get(key_of(word)):
            raise UserError(f"{word} has no effect here: {reason}.")


def warn_of_synthetic(synthetic: bool) -> None:
    """Say on standard error that a model was trained on synthetic tones, if it was."""
    if synthetic:
        say("This model was trained on synthetic tones, not on speech.", error=True)


def speeds_of(given: list[float] | None) -> tuple[float, ...]:
    """The speeds to average over: those given, else the original one."""
    return tuple(given) if given else (1.0,)
