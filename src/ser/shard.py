"""One shard of the audio cache: the samples of many clips in one file.

A worker process starts with this module, so it imports nothing heavy.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from ser.audio import Clip, Pcm, examine_parts

Span = tuple[str, float, float]  # path, start and end in seconds


def fill_shard(folder: Path, sources: Sequence[Span]) -> list[Clip]:
    """Decode the sources into one new file of samples, and tell where in it each lies.

    Whoever writes its index waits until it is on the disk: a worker has better things to do.
    """
    path = folder / f"{uuid.uuid4().hex}.pcm"
    try:
        with path.open("wb") as file:
            return list(store(examine_all(sources), file, path.stem))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def store(examined: Iterable[tuple[Clip, Pcm]], file: BinaryIO, shard: str) -> Iterator[Clip]:
    """Write the samples one after another, and equal ones once."""
    length, offsets = 0, dict[str, int]()
    for clip, samples in examined:
        if not clip.content:
            yield clip
            continue
        if clip.content not in offsets:
            offsets[clip.content] = length
            file.write(samples.data)
            length += len(samples)
        yield replace(clip, shard=shard, offset=offsets[clip.content])


def examine_all(sources: Sequence[Span]) -> Iterator[tuple[Clip, Pcm]]:
    """Examine each source; a file that holds several neighbours is opened once for them."""
    for path, parts in groupby(sources, key=lambda source: source[0]):
        yield from examine_parts(Path(path), [(start, end) for _, start, end in parts])
