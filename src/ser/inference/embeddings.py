"""Embeddings of recordings: hidden states of a layer, pooled or frame by frame."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ser.audio.recording import REASONS, Fault, Source, name_source
from ser.errors import UserError, optional_dependency, require
from ser.inference.prediction import Failure
from ser.inference.settings import Pool, WindowConfig
from ser.inference.windows import Window, read_windows
from ser.inference.writers import Written
from ser.models.families.base import SPEECH
from ser.models.network import EmotionNetwork
from ser.system.atomic import replacing
from ser.system.files import printable

if TYPE_CHECKING:
    from ser.inference.predictor import Predictor

ROWS_PER_GROUP = 256


@dataclass(frozen=True)
class Embedding:
    """The embedding of a recording: (size,) or, without pooling, (frames, size) in float32."""

    path: str | None
    seconds: float
    values: NDArray[np.float32]


def check_layer(predictor: "Predictor", layer: int | None) -> int:
    """The layer, by default the last one. Raises UserError if the network has no such layer."""
    if not isinstance(predictor.network, EmotionNetwork):
        raise UserError(f"{predictor.name} is an ensemble: embed with one of its members")
    depth = predictor.network.depth
    layer = depth if layer is None else layer
    require(0 <= layer <= depth, "layer", layer, f"from 0 to {depth}, the last layer")
    return layer


def embed(
    predictor: "Predictor",
    sources: Iterable[Source],
    *,
    layer: int | None = None,
    pool: Pool = Pool.mean,
    batch_size: int = 16,
) -> Iterator[Embedding | Failure]:
    """The embedding of each recording, in order; a recording that cannot be read is a Failure.

    Layer 0 is the input of the first transformer layer. The last layer, the default, includes the
    final norm of the backbone. The mean is over the frames of the recording, without padding.
    """
    layer, remaining = check_layer(predictor, layer), iter(sources)
    while group := list(islice(remaining, batch_size)):
        recordings = [read(source, predictor.max_seconds) for source in group]
        windows = [w for each in recordings if not isinstance(each, Failure) for w in each]
        states = compute(predictor, windows, layer, batch_size)
        for source, each in zip(group, recordings, strict=True):
            if isinstance(each, Failure):
                yield each
            else:
                frames = np.concatenate([next(states) for _ in each])
                values = frames.mean(axis=0) if pool == Pool.mean else frames
                yield Embedding(name_source(source), each[-1].end, values)


def read(source: Source, seconds: float) -> list[Window] | Failure:
    """Consecutive windows of at most so many seconds; the last one may overlap."""
    try:
        windows = list(read_windows(source, WindowConfig(seconds, seconds)))
    except (ValueError, OSError) as error:
        return Failure(name_source(source), str(error))
    return windows or Failure(name_source(source), REASONS[Fault.EMPTY])


def compute(
    predictor: "Predictor", windows: Sequence[Window], layer: int, batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """The valid frames (frames, size) of each window."""
    for start in range(0, len(windows), batch_size):
        waveforms = [each.waveform for each in windows[start : start + batch_size]]
        values, mask = predictor.pad(waveforms)
        device = predictor.device
        with torch.inference_mode():
            states, frames = predictor.network.run(values.to(device), mask.to(device), layer)
        for each, valid in zip(states[-1].float().cpu(), (frames == SPEECH).cpu(), strict=True):
            yield each[valid].numpy()


def write_parquet(
    results: Iterable[Embedding | Failure], path: Path, pool: Pool, metadata: dict[str, str]
) -> Written:
    """Write a Parquet file with a row per recording, and return the number of rows.

    Columns: path, seconds, embedding (a list of numbers, or a list per frame), error. The metadata
    is that of the file. Raises UserError without pyarrow.
    """
    with optional_dependency("parquet"):
        import pyarrow as arrow
        from pyarrow import parquet
    vector = arrow.list_(arrow.float32())
    kind = vector if pool == Pool.mean else arrow.list_(vector)
    columns = {"path": arrow.string(), "seconds": arrow.float64(), "embedding": kind}
    schema = arrow.schema([*columns.items(), ("error", arrow.string())], metadata=metadata)
    total, failed, remaining = 0, 0, iter(results)
    # An open file, because pyarrow refuses names that are not UTF-8.
    with replacing(path) as file, parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            total += len(group)
            failed += sum(isinstance(each, Failure) for each in group)
            rows = [describe(each, pool) for each in group]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return Written(total, failed)


def describe(result: Embedding | Failure, pool: Pool) -> dict[str, object]:
    path = None if result.path is None else printable(result.path)
    if isinstance(result, Failure):
        return {"path": path, "error": printable(result.error)}
    values = result.values if pool == Pool.mean else list(result.values)
    return {"path": path, "seconds": result.seconds, "embedding": values}
