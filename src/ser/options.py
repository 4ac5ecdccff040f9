"""The options that several commands of `ser` share."""

from enum import StrEnum
from typing import Annotated

import typer

from ser.job import Precision


class Target(StrEnum):
    hf = "hf"
    onnx = "onnx"


class Engine(StrEnum):
    local = "local"
    ray = "ray"


RAY = "With --engine ray"

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings as for train.py: data=ravdess data.max_seconds=5 ..."),
]
Ckpt = Annotated[
    str, typer.Option(help="Run folder, .ckpt, exported folder, or OWNER/NAME on the hub.")
]
Host = Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Computing = Annotated[
    Precision, typer.Option("--precision", help="bf16 is faster where the device has it.")
]
Raw = Annotated[bool, typer.Option("--raw", help="The model's own probabilities.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Windows judged together.")]
Megabytes = Annotated[float, typer.Option("--max-megabytes", help="Of an upload.")]
Seconds = Annotated[float, typer.Option("--max-seconds", help="Of a recording.")]
Waiting = Annotated[
    int, typer.Option("--max-waiting", help="Recordings at once; more are sent away.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Default: one a GPU, or one a machine.", rich_help_panel=RAY),
]
ShardSize = Annotated[
    int | None,
    typer.Option(min=1, help="Recordings a file of results; 1000.", rich_help_panel=RAY),
]
Address = Annotated[
    str | None,
    typer.Option(help="Of a cluster (auto, ray://...); else a new one.", rich_help_panel=RAY),
]
