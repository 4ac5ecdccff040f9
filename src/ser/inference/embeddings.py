"""Embeddings of recordings: hidden states of a layer, pooled or frame by frame."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ser.audio.recording import REASONS, SAMPLE_RATE, Fault, Source, name_source
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
Features = NDArray[np.float32]


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

    def compute(windows: Iterable[Window]) -> Iterator[Features]:
        return compute_frames(predictor, windows, layer, batch_size)

    while group := list(islice(remaining, batch_size)):
        started = [start(source, predictor.max_seconds) for source in group]
        # Short recordings share batches; a long one is read while it is computed.
        short = [each[0][0] for each in started if not isinstance(each, Failure) and not each[1]]
        frames = compute(short)
        for source, each in zip(group, started, strict=True):
            name = name_source(source)
            if isinstance(each, Failure):
                yield each
            elif each[1]:
                yield embed_long(name, each[1], compute, pool)
            else:
                [window] = each[0]
                yield Embedding(name, window.end, join([next(frames)], pool))


def start(source: Source, seconds: float) -> tuple[list[Window], Iterator[Window] | None] | Failure:
    """The window of a short recording, or all windows of one longer than `seconds`."""
    try:
        windows = read_windows(source, WindowConfig(seconds, seconds))
        first = list(islice(windows, 2))
    except (ValueError, OSError) as error:
        return Failure(name_source(source), str(error))
    if not first:
        return Failure(name_source(source), REASONS[Fault.EMPTY])
    return first, chain(first, windows) if len(first) > 1 else None


def embed_long(
    name: str | None,
    windows: Iterator[Window],
    compute: Callable[[Iterable[Window]], Iterator[Features]],
    pool: Pool,
) -> Embedding | Failure:
    """The embedding of a recording of several windows, of which the last may overlap another."""
    ends = [0]  # of each window, in samples

    def noting_overlap() -> Iterator[Window]:
        for window in windows:
            overlaps.append(max(0, ends[-1] - window.first) / len(window.waveform))
            ends.append(window.first + len(window.waveform))
            yield window

    overlaps: list[float] = []
    try:
        frames = compute(noting_overlap())
        parts = (each[round(overlaps[n] * len(each)) :] for n, each in enumerate(frames))
        values = join(parts, pool)
    except (ValueError, OSError) as error:
        return Failure(name, str(error))
    return Embedding(name, ends[-1] / SAMPLE_RATE, values)


def join(parts: Iterable[Features], pool: Pool) -> Features:
    """The mean (size,) over the frames (frames, size) of all parts, or these frames together."""
    if pool == Pool.none:
        return np.concatenate(list(parts))
    total, count = np.float64(0), 0
    for part in parts:
        total, count = total + part.sum(axis=0, dtype=np.float64), count + len(part)
    return np.asarray(total / count, np.float32)


def compute_frames(
    predictor: "Predictor", windows: Iterable[Window], layer: int, batch_size: int
) -> Iterator[Features]:
    """The valid frames (frames, size) of each window."""
    remaining = iter(windows)
    while batch := list(islice(remaining, batch_size)):
        values, mask = predictor.pad([each.waveform for each in batch])
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
