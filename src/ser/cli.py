"""The command `ser`: what is done besides training and evaluating.

Each command imports what it needs in its own body, so `--help` and mistakes answer at once.
"""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ser.errors import extra, one_line_errors
from ser.job import Job, Precision
from ser.options import (
    Address,
    BatchSize,
    Ckpt,
    Computing,
    Device,
    Engine,
    Host,
    Megabytes,
    Overrides,
    Port,
    Raw,
    Seconds,
    ShardSize,
    Target,
    Waiting,
    Workers,
)
from ser.writers import Format

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Speech emotion recognition: prepare data, and use what was trained.",
)
TUNE, CARD = Path("runs/tune"), Path("data/card")


@app.command()
def prepare(
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="Folder of the card and the manifest.")] = CARD,
) -> None:
    """Download, decode, clean and split the data ahead of training, and write their data card."""
    from ser.compose import compose_command
    from ser.config import TrainConfig

    settings = compose_command("train", overrides or [], TrainConfig)
    from ser import card, preparation  # heavy, so only once the settings are known to be good

    manifest = preparation.prepare(settings.data, settings.split)
    found = card.Card(manifest, settings.data, settings.split)
    card.show(found)
    card.write(found, output)
    print(f"Written: {output / 'data_card.html'}, data_card.md, manifest.csv, dropped.csv")


@app.command()
def predict(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, tables with a column path, or -.")
    ],
    ckpt: Ckpt,
    format: Annotated[  # noqa: A002 (the name of the option)
        Format | None, typer.Option(help="Default: a table on a terminal, else JSON.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A file instead of standard output.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Only the most probable.")] = None,
    raw: Raw = False,
    precision: Computing = Precision.full,
    window: Annotated[float | None, typer.Option(help="Seconds of a sliding window.")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between windows; half of one.")] = None,
    vad: Annotated[bool, typer.Option("--vad", help="Skip what is not speech.")] = False,
    batch_size: BatchSize = 16,
    device: Device = "auto",
    engine: Annotated[Engine, typer.Option(help="ray: on many machines.")] = Engine.local,
    workers: Workers = None,
    shard_size: ShardSize = None,
    address: Address = None,
) -> None:
    """Say which emotion is to be heard in recordings, as they come; exit 1 if one failed."""
    from ser import engines

    job = Job(ckpt, device, raw, precision, window, hop, vad, batch_size)
    wanted = engines.Wanted(paths, format, output, top_k)
    if engine == Engine.ray:
        failed = engines.judge_on_cluster(job, wanted, shard_size or 1000, workers, address)
    else:
        for name, value in (("workers", workers), ("shard-size", shard_size), ("address", address)):
            if value is not None:
                raise ValueError(f"--{name}={value} is for --engine=ray.")
        failed = engines.judge_here(job, wanted)
    raise typer.Exit(1 if failed else 0)


@app.command()
def export(
    ckpt: Annotated[str, typer.Argument(help="Run folder, .ckpt, exported folder, or hub name.")],
    to: Annotated[Target, typer.Option(help="hf: for transformers; onnx: for onnxruntime.")],
    output: Annotated[Path, typer.Option(help="The folder to write; it must be new.")],
    int8: Annotated[bool, typer.Option("--int8", help="ONNX in 8 bits too.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="ONNX without the temperature.")] = False,
    clips: Annotated[
        list[str] | None, typer.Option(help="Recordings to check on, instead of noise.")
    ] = None,
    push: Annotated[str | None, typer.Option(help="Upload to OWNER/NAME on the hub.")] = None,
) -> None:
    """Write a trained model for use elsewhere, and check that it says the same there."""
    if to == Target.hf and (int8 or raw):
        raise ValueError("--int8 and --raw are for --to=onnx.")
    from ser import export

    if push is not None:
        export.require_token()
    if to == Target.hf:
        found = {"model.safetensors": export.export_hugging_face(ckpt, output, clips or [])}
    else:
        from ser.onnx_export import export_onnx

        found = export_onnx(ckpt, output, clips or [], raw=raw, int8=int8)
    for name, parity in found.items():
        typer.echo(f"{output / name}: {parity}")
    if push is not None:
        typer.echo(f"Uploaded to {export.push(output, push)}")


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
    with extra("tune"):
        from ser import search  # heavy, so only once the settings are known to be good

    plan = search.Search(plain, space, folder)
    search.show(search.search(plan, trials), plan)


@app.command()
def serve(
    ckpt: Ckpt,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="SER_TOKEN", help="What clients must show.")
    ] = None,
    max_megabytes: Megabytes = 25,
    max_seconds: Seconds = 600,
    max_waiting: Waiting = 64,
    timeout: Annotated[float, typer.Option(help="Seconds for a request.")] = 60,
    batch_size: BatchSize = 16,
    device: Device = "auto",
    precision: Computing = Precision.full,
    raw: Raw = False,
) -> None:
    """Answer over HTTP: POST a recording to /predict; /docs tells the rest."""
    with extra("serve"):
        from ser import gate, server, service
    from ser.predict import Predictor

    limits = gate.Limits(max_megabytes, max_seconds, max_waiting, timeout)
    if token is not None and not token.strip():
        raise ValueError("--token (or SER_TOKEN) is empty: give one, or leave it away.")
    with server.listen(host, port) as listening:
        if token is None and host not in server.LOOPBACK:
            typer.echo(f"Whoever reaches {host} may use this: --token keeps others out.", err=True)
        predictor = Predictor.from_checkpoint(ckpt, device, raw, precision)
        hosts = server.name_hosts(host)
        app = service.create_app(predictor, limits, token=token, hosts=hosts, batch_size=batch_size)
        gate.log_as_json()
        gate.LOG.info("listening", extra={"facts": {"address": server.name_address(listening)}})
        server.run(app, listening, timeout)


@app.command()
def demo(
    ckpt: Ckpt,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    open: Annotated[bool, typer.Option(help="In the browser.")] = True,  # noqa: A002
    max_megabytes: Megabytes = 25,
    max_seconds: Seconds = 600,
    max_waiting: Waiting = 8,
    device: Device = "auto",
    precision: Computing = Precision.full,
    raw: Raw = False,
) -> None:
    """Show a web page to record or drop a file into, and what the model hears in it."""
    with extra("serve"):
        from ser import demo, gate, server
    from ser.predict import Predictor

    limits = gate.Limits(max_megabytes, max_seconds, max_waiting)
    with server.listen(host, port) as listening:
        predictor = Predictor.from_checkpoint(ckpt, device, raw, precision)
        app = demo.create_demo(predictor, limits, hosts=server.name_hosts(host))
        address = server.name_address(listening)
        typer.echo(f"Open {address} in a browser; Ctrl-C ends it.")
        if open:
            webbrowser.open(address)
        server.run(app, listening, limits.timeout)


def main() -> None:
    with one_line_errors():
        sys.exit(app())


if __name__ == "__main__":
    main()
