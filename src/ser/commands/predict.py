"""`ser predict`: in this process, or by the workers of a Ray cluster."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser.audio.recording import Source
from ser.commands.options import (
    Address,
    BatchSize,
    Ckpt,
    Computing,
    Device,
    Engine,
    Raw,
    ShardSize,
    Speaker,
    Speeds,
    Workers,
    speeds_of,
    warn_of_synthetic,
)
from ser.commands.words import Command
from ser.config.precision import Precision
from ser.errors import UserError, amount, optional_dependency
from ser.inference import sources, writers
from ser.inference.settings import Format, PredictorConfig
from ser.inference.timelines import TIMELINES, refuse_several
from ser.system.terminal import say

if TYPE_CHECKING:
    from ser.inference.predictor import Predictor

SHARD_SIZE = 1000
ADAPT = "--adapt"


class PredictCommand(Command):
    """The command, with an option whose value may be left out: typer has none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        following = [*args, "-"][1:]
        bare = [
            each == ADAPT and after.startswith("-")
            for each, after in zip(args, following, strict=True)
        ]
        typed = [f"{ADAPT}=" if alone else each for each, alone in zip(args, bare, strict=True)]
        try:
            return super().parse_args(ctx, typed.copy())
        except typer.BadParameter as error:
            if ADAPT in typed and getattr(error.param, "name", "") == "paths":
                value = typed[typed.index(ADAPT) + 1]
                raise UserError(
                    f"No recording is given, because {value} is read as the value of {ADAPT}: put"
                    f" {ADAPT} after the recordings."
                ) from None
            raise


class Channels(StrEnum):
    mix = "mix"
    separate = "separate"


@dataclass(frozen=True)
class OutputOptions:
    """The recordings as typed, the format and place of their results, and how to adapt.

    `adapt` names the speaker of each recording; None: no adaptation.
    """

    paths: list[str]
    format: Format | None = None
    output: Path | None = None
    top_k: int | None = None
    channels: Channels = Channels.mix
    adapt: str | None = None


Sources = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders, globs, tables with a `path` column, or - (standard input)."
    ),
]
TimelineFormat = Annotated[
    Format | None,
    typer.Option(
        metavar="FORMAT",
        help=f"{', '.join(Format)}; default: a table on a terminal, else json.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        help="File; a folder for timelines of several recordings. Default, or -: standard output."
    ),
]
TopK = Annotated[int | None, typer.Option(min=1, help="Write only the K most probable emotions.")]
Length = Annotated[float | None, typer.Option(help="Length of sliding windows in seconds.")]
Hop = Annotated[float | None, typer.Option(help="Seconds between windows; default: half a window.")]
ChannelMode = Annotated[
    Channels, typer.Option(help="separate: predict each channel of stereo calls by itself.")
]
Vad = Annotated[bool, typer.Option("--vad", help="Skip parts without speech.")]
Adapt = Annotated[
    str | None,
    typer.Option(
        ADAPT,
        metavar="[COLUMN_OR_PATTERN]",
        help="Adapt to the speakers of the recordings, without labels. COLUMN names the speaker in"
        " a table, PATTERN is a regular expression that finds the speaker in the path; without a"
        " value, all recordings are of one speaker.",
    ),
]
Where = Annotated[Engine, typer.Option(help="ray: on several machines.")]


def predict(
    paths: Sources,
    ckpt: Ckpt,
    format: TimelineFormat = None,  # noqa: A002 (the name of the option)
    output: Output = None,
    top_k: TopK = None,
    raw: Raw = False,
    precision: Computing = Precision.auto,
    window: Length = None,
    hop: Hop = None,
    channels: ChannelMode = Channels.mix,
    vad: Vad = False,
    adapt: Adapt = None,
    speaker: Speaker = None,
    batch_size: BatchSize = 16,
    speed: Speeds = None,
    device: Device = "auto",
    engine: Where = Engine.local,
    workers: Workers = None,
    shard_size: ShardSize = None,
    address: Address = None,
) -> None:
    """Predict the emotion in recordings. Exits with 1 if any recording failed."""
    speeds = speeds_of(speed)
    config = PredictorConfig(
        ckpt, device, raw, precision, window, hop, vad, batch_size, speeds, speaker
    )
    file = None if str(output) == "-" else output
    options = OutputOptions(paths, format, file, top_k, channels, adapt)
    check_adaptation(config, options, engine)
    if engine == Engine.ray:
        good = run_on_ray(config, options, shard_size or SHARD_SIZE, workers, address)
    else:
        for name, value in (("workers", workers), ("shard-size", shard_size), ("address", address)):
            if value is not None:
                raise UserError(f"--{name}={value} needs --engine=ray.")
        good = run_locally(config, options)
    raise typer.Exit(0 if good else 1)


def check_adaptation(config: PredictorConfig, options: OutputOptions, engine: Engine) -> None:
    """Raise UserError for options that exclude adaptation."""
    if options.adapt is None and config.speaker is None:
        return
    if engine == Engine.ray:
        raise UserError("--adapt and --speaker need --engine=local.")
    if options.adapt is not None and config.speaker is not None:
        raise UserError("--adapt and --speaker exclude each other: choose one.")
    if options.adapt is not None and (
        config.speeds != (1.0,) or options.channels == Channels.separate
    ):
        raise UserError("--adapt works at the original speed and with mixed channels only.")


def run_locally(config: PredictorConfig, options: OutputOptions) -> bool:
    """Predict in this process; return whether there were recordings and none failed."""
    kind = writers.choose_format(options.format, options.output)
    if config.window is not None and kind == Format.csv:
        say(
            "Windows are left out, because CSV has no column for them; json, jsonl, parquet,"
            " textgrid, vtt and audacity have.",
            error=True,
        )
    separate = options.channels == Channels.separate
    if options.adapt is None:
        found, total = find_recordings(options.paths, separate=separate)
        if kind in TIMELINES and options.output is None and total is not None and total > 1:
            refuse_several()  # before the model is loaded
        predictor = load(config)
        results = config.predict(predictor, found)
    else:
        recordings, speakers = sources.find_with_speakers(options.paths, options.adapt)
        total, predictor = len(recordings), load(config)
        from ser.inference.adaptation import predict_adapted  # seconds of import

        settings = {"sliding": config.windows, "vad": config.vad, "batch_size": config.batch_size}
        results = predict_adapted(predictor, recordings, speakers, **settings)
    # On a terminal the results themselves show the progress.
    visible = sys.stdout.isatty() and options.output is None
    adapts = options.adapt is not None or config.speaker is not None
    extra = {"channels": separate, "adapts": adapts}
    with writers.open_writer(
        kind, options.output, predictor.labels, options.top_k, **extra
    ) as writer:
        written = writers.write_all(results, writer, total, bar=not visible)
    if options.output is not None:
        count = amount(written.recordings, "channel" if separate else "recording")
        failed = f", {written.failed:,} failed" if written.failed else ""
        empty = kind in TIMELINES and written.recordings == written.failed  # then there is no file
        done = "Nothing was written:" if empty else f"Written: {options.output}"
        # The output may be /dev/stdout.
        say(f"{done} ({count}{failed})", error=True)
    return written.recordings > 0 and not written.failed


def find_recordings(paths: list[str], *, separate: bool) -> tuple[Iterator[Source], int | None]:
    """The recordings or channels to predict, and their number if it is known in advance."""
    found = sources.find_all(paths)
    if separate:
        return sources.split_channels(found), None
    if "-" in paths:  # the end of a pipe is not known yet
        return found, None
    return sources.count(found)


def load(config: PredictorConfig) -> "Predictor":
    """The predictor; says on standard error if it was trained on synthetic tones."""
    predictor = config.load()
    warn_of_synthetic(predictor.synthetic)
    return predictor


def run_on_ray(
    config: PredictorConfig,
    options: OutputOptions,
    shard_size: int,
    workers: int | None,
    address: str | None,
) -> bool:
    """Predict by the workers of Ray; return whether no recording failed.

    Raises UserError for options that only the local engine supports.
    """
    if options.output is None or options.format not in (None, Format.parquet):
        raise UserError("--engine=ray writes Parquet files into a folder: add --output=FOLDER")
    if options.channels == Channels.separate:
        raise UserError("--channels=separate needs --engine=local")
    if "-" in options.paths:
        raise UserError("--engine=ray does not read standard input: name files, folders or a table")
    with optional_dependency("ray"):
        import ray  # noqa: F401

        from ser.inference import ray_engine
    found = list(sources.find_all(options.paths))
    if not all(isinstance(source, str) for source in found):
        raise UserError("--engine=ray reads files, not recordings inside a table.")
    paths = [str(source) for source in found]
    planned = ray_engine.plan(
        config, paths, options.output, shard_size=shard_size, top_k=options.top_k
    )
    failed = ray_engine.run(planned, workers=workers, address=address)
    files = amount(len(planned.shards), "Parquet file")
    say(f"Written: {files} in {options.output}", error=True)
    if failed:
        total = amount(len(paths), "recording")
        say(f"{failed:,} of {total} failed: see the column error.", error=True)
    return not failed
