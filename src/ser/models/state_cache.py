"""The cache of hidden states on the disk."""

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash

from ser.errors import UserError
from ser.models.hidden_states import Batches, CacheKey, HiddenStates, StoredStates, compute
from ser.models.network import EmotionNetwork
from ser.system.atomic import filling, replacing, write_text
from ser.system.progress import progress_bar

log = logging.getLogger(__name__)
BYTES_PER_SHARD = 2**28


class StateReader(Protocol):
    """Hidden states by the content hash of their utterance."""

    @property
    def key(self) -> CacheKey: ...

    def read(self, content: str) -> StoredStates: ...


class HiddenStateCache:
    """Hidden states by the content hash of their utterance, memory-mapped.

    Frames and their means are in half precision, pooled features in single precision.
    Shards are immutable. The states are written under a temporary name and renamed, then the
    index in the same way, so an interrupted run loses at most the shard in progress. Every entry
    carries a checksum; a damaged entry counts as missing.
    """

    def __init__(self, cache_dir: Path, key: CacheKey) -> None:
        self._key = key
        self.folder = cache_dir.expanduser() / "hidden_states" / key.digest
        self.folder.mkdir(parents=True, exist_ok=True)
        self._places: dict[str, tuple[str, int, int, int]] = {}
        self._shards: dict[str, HiddenStates] = {}
        self.load()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # every loader process maps the shards itself

    @property
    def key(self) -> CacheKey:
        return self._key

    def missing(self, contents: Iterable[str]) -> set[str]:
        return {content for content in contents if content not in self._places}

    def read(self, content: str) -> StoredStates:
        """The hidden states of the utterance with this content hash."""
        shard, offset, frames, spoken = self._places[content]
        if shard not in self._shards:
            self._shards[shard] = np.load(self.folder / f"{shard}.npy", mmap_mode="r")
        return StoredStates(self._shards[shard][offset : offset + frames], spoken)

    def load(self) -> None:
        """Read the indexes; a shard that differs from what was written counts as missing."""
        for index in self.folder.glob("*.json"):
            if index.stem in self._shards:
                continue
            try:
                self._add(index)
            except (OSError, ValueError, EOFError, TypeError, AttributeError):
                log.warning("%s is damaged: its hidden states are computed again", index)

    def _add(self, index: Path) -> None:
        """Add the entries of an index. Raises ValueError if the shard is not the one written."""
        states = np.load(index.with_suffix(".npy"), mmap_mode="r")
        places, offset = {}, 0
        for content, (frames, spoken, checksum) in json.loads(index.read_text()).items():
            stored = StoredStates(states[offset : offset + frames], spoken)
            if checksum_of(content, stored) != checksum:
                raise ValueError("wrong checksum")
            places[content] = (index.stem, offset, frames, spoken)
            offset += frames
        self._shards[index.stem] = states
        self._places |= places

    def tidy(self) -> None:
        """Remove what interrupted runs and damage left behind; call it under the lock."""
        for pattern in ("*.npy", "*.json", ".*.tmp"):
            for file in self.folder.glob(pattern):
                if file.stem not in self._shards:
                    file.unlink(missing_ok=True)

    def write(self, stored: dict[str, StoredStates]) -> None:
        """Add one shard. Raises UserError if the disk is full."""
        shard = self.folder / uuid.uuid4().hex
        entries = {
            content: (len(each.states), each.spoken, checksum_of(content, each))
            for content, each in stored.items()
        }
        try:
            with replacing(shard.with_suffix(".npy")) as file:
                np.save(file, np.concatenate([each.states for each in stored.values()]))
            write_text(shard.with_suffix(".json"), json.dumps(entries))
        except OSError as error:
            raise UserError(
                f"hidden states cannot be written to {self.folder} ({error.strerror}): free some"
                " space, move data.cache_dir, or set model.cache_hidden_states=false"
            ) from error


def checksum_of(content: str, stored: StoredStates) -> str:
    """A checksum of an entry: its name, its number of frames and its values."""
    digest = xxhash.xxh3_64(f"{content} {len(stored.states)} {stored.spoken}".encode())
    digest.update(np.ascontiguousarray(stored.states).data)
    return digest.hexdigest()


def fill(
    cache: HiddenStateCache,
    network: EmotionNetwork,
    batches: Batches,
    contents: Sequence[str],
    context: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Compute what is missing. A second process that needs the same waits for the first.

    `batches` yields content hashes, waveforms and masks (batch, time); `context` sets the
    precision.
    """
    if not cache.missing(contents):
        return
    with filling(cache.folder):
        cache.load()
        cache.tidy()
        missing, pending, size = cache.missing(contents), {}, 0
        if not missing:
            return
        log.info("Computing hidden states of %s clips", f"{len(missing):,}")  # for log files
        with progress_bar() as progress:
            task = progress.add_task("Computing hidden states", total=len(missing))
            for names, waveforms, mask in batches:
                if not missing.intersection(names):
                    continue
                states = compute(cache.key, network, waveforms, mask, context)
                new = {n: s for n, s in zip(names, states, strict=True) if n in missing}
                pending |= new
                size += sum(each.states.nbytes for each in new.values())
                progress.advance(task, len(new))
                if size >= BYTES_PER_SHARD:
                    cache.write(pending)
                    pending, size = {}, 0
        if pending:
            cache.write(pending)
        cache.load()
