"""`ser embed`"""

from pathlib import Path
from typing import Annotated

import typer

from ser.commands.options import BatchSize, Ckpt, Computing, Device
from ser.config.precision import Precision
from ser.errors import UserError, amount, optional_dependency, require
from ser.inference.settings import Pool, PredictorConfig
from ser.system.terminal import say


def embed(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders, globs or tables with a column path.")
    ],
    ckpt: Ckpt,
    output: Annotated[Path, typer.Option(help="Parquet file to write, such as x.parquet.")],
    layer: Annotated[
        int | None,
        typer.Option(help="Transformer layer; 0: its input. Default: the last layer."),
    ] = None,
    pool: Annotated[
        Pool, typer.Option(help="mean: one vector per recording; none: one per frame.")
    ] = Pool.mean,
    precision: Computing = Precision.fp32,
    batch_size: BatchSize = 16,
    device: Device = "auto",
) -> None:
    """Write embeddings of recordings. Exits with 1 if any recording failed."""
    require(output.suffix == ".parquet", "--output", output, "must end in .parquet")
    require(output.parent.is_dir(), "--output", output, "its folder does not exist")
    with optional_dependency("parquet"):
        import pyarrow  # noqa: F401
    from ser.inference import embeddings, sources  # seconds of import
    from ser.system.progress import track

    found, total = sources.count(sources.find_all(paths))
    if total == 0:
        raise UserError("no recording found")
    predictor = PredictorConfig(ckpt, device, precision=precision).load()
    chosen = embeddings.check_layer(predictor, layer)
    results = embeddings.embed(predictor, found, layer=chosen, pool=pool, batch_size=batch_size)
    results = track(results, "Embedding", total)
    metadata = {"model": predictor.name, "layer": str(chosen), "pool": pool}
    written = embeddings.write_parquet(results, output, pool, metadata)
    count = amount(written.recordings, "recording")
    say(f"Written: {output} ({count}, layer {chosen}, pool {pool})")
    if written.failed:
        say(f"{amount(written.failed, 'recording')} failed: see the column error", error=True)
    raise typer.Exit(1 if written.failed else 0)
