"""Embeddings of recordings: hidden states of a layer, pooled or frame by frame."""

from collections.abc import Iterable, Iterator
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
    while group := list(islice(remaining, batch_size)):
        started = [Started.read(source, predictor.max_seconds) for source in group]
        # Short recordings share batches; a long one is read while it is computed.
        short = (each.first[0] for each in started if each.short)
        computed = compute_frames(predictor, short, layer, batch_size)
        for each in started:
            if each.short:
                frames: Iterable[Features] = [next(computed)]
            else:
                frames = compute_frames(predictor, each.windows(), layer, batch_size)
            values = join(frames, pool)
            if each.error or values is None:
                yield Failure(each.name, each.error or REASONS[Fault.EMPTY])
            else:
                yield Embedding(each.name, each.end / SAMPLE_RATE, values)


@dataclass
class Started:
    """A recording of which up to two windows are read; `error` says why it cannot be used.

    `end` is the number of samples in the windows that were read.
    """

    name: str | None
    first: list[Window]
    rest: Iterator[Window]
    end: int = 0
    error: str = ""

    @classmethod
    def read(cls, source: Source, seconds: float) -> "Started":
        """Begin to read a recording in consecutive windows of at most this many seconds."""
        recording = cls(name_source(source), [], iter(()))
        recording.rest = recording.guard(read_windows(source, WindowConfig(seconds, seconds)))
        recording.first = list(islice(recording.rest, 2))
        return recording

    @property
    def short(self) -> bool:
        """Whether the recording is one window."""
        return len(self.first) == 1 and not self.error

    def guard(self, windows: Iterator[Window]) -> Iterator[Window]:
        """The windows up to an error, which is kept."""
        try:
            for window in windows:
                self.end = window.first + len(window.waveform)
                yield window
        except (ValueError, OSError) as error:
            self.error = str(error)

    def windows(self) -> Iterator[Window]:
        """All windows; the last one may overlap the one before."""
        return chain(self.first, self.rest)


def join(parts: Iterable[Features], pool: Pool) -> Features | None:
    """The mean (size,) over the frames (frames, size) of all parts, or these frames together.

    None without frames.
    """
    if pool == Pool.none:
        frames = list(parts)
        return np.concatenate(frames) if frames else None
    total, count = np.float64(0), 0
    for part in parts:
        total, count = total + part.sum(axis=0, dtype=np.float64), count + len(part)
    return np.asarray(total / count, np.float32) if count else None


def compute_frames(
    predictor: "Predictor", windows: Iterable[Window], layer: int, batch_size: int
) -> Iterator[Features]:
    """The frames (frames, size) of each window, without those that the window before it has too."""
    remaining, reached = iter(windows), 0
    while batch := list(islice(remaining, batch_size)):
        values, mask = predictor.pad([each.waveform for each in batch])
        device = predictor.device
        with torch.inference_mode():
            states, frames = predictor.network.run(values.to(device), mask.to(device), layer)
        valid = (frames == SPEECH).cpu()
        for window, each, kept in zip(batch, states[-1].float().cpu(), valid, strict=True):
            own = each[kept].numpy()
            # A window that begins at 0 is that of another recording.
            repeated = max(0, reached - window.first) if window.first else 0
            yield own[round(len(own) * repeated / len(window.waveform)) :]
            reached = window.first + len(window.waveform)


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
