"""One shard of the audio cache: the samples of many clips in one file.

A worker process starts with this module, so it imports nothing heavy.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from ser.audio.examine import examine_parts
from ser.audio.recording import Clip, Pcm

Span = tuple[str, float, float]  # path, start and end in seconds


def fill_shard(folder: Path, sources: Sequence[Span]) -> list[Clip]:
    """Decode the sources into one new file of samples; returns where in it each is.

    The caller, which writes the index, waits until the file is on the disk: workers go on decoding.
    """
    path = folder / f"{uuid.uuid4().hex}.pcm"
    try:
        with path.open("wb") as file:
            clips = list(store(examine_all(sources), file, path.stem))
        if not any(clip.content for clip in clips):
            path.unlink()
        return clips
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def store(examined: Iterable[tuple[Clip, Pcm]], file: BinaryIO, shard: str) -> Iterator[Clip]:
    """Write the samples one after another, equal ones once."""
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
    """Examine each source; neighbours in one file are read in one pass, by their starts."""
    for path, parts in groupby(sources, key=lambda source: source[0]):
        yield from examine_parts(Path(path), sorted((start, end) for _, start, end in parts))
