"""Decoded audio on disk: decoded once, mapped into memory from then on."""

import io
import logging
import math
import uuid
import zlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from ser.audio.examine import DECODER, checksum, examine
from ser.audio.recording import NOTHING, SAMPLE_RATE, Clip, Fault, Pcm, Waveform, scale
from ser.audio.shard import Span, fill_shard
from ser.errors import UserError
from ser.system.atomic import filling, flush, replacing
from ser.system.files import identify
from ser.system.parallel import on_all_cores
from ser.system.progress import progress_bar

log = logging.getLogger(__name__)
# A change to the samples of ordinary files needs a new number, and decodes everything again; a
# change to a few files needs a new number of ser.audio.examine.DECODER and a line in `trusted`.
KEY = f"4-{SAMPLE_RATE}-mono-soxr_hq-int16"
CLIPS_PER_SHARD = 256  # so that all cores finish at about the same time
FEWEST = 32  # clips that are worth a shard
BYTES_PER_SHARD = 64 * 2**20  # of files: a stopped run loses at most that for each core
SOURCE = ["path", "start", "end"]  # the part of a file
STATE = [*SOURCE, "size", "mtime_ns"]  # and the state of the file when it was read
PLACE = ("shard", "offset", "length", "peak", "checksum")  # where samples are, and their scale
DTYPES: dict[str, Any] = {field.name: field.type for field in fields(Clip)}
DEFAULTS = {"note": "", "decoder": 0}  # fields that older indexes lack
# Later runs may be able to read these: another disk, another package installed.
PASSING = [Fault.UNREADABLE.value, Fault.UNSUPPORTED.value]


class Recordings:
    """The samples of some clips of a cache, in order; small enough to send to a loader process."""

    def __init__(self, folder: Path, clips: pd.DataFrame) -> None:
        self.folder = folder
        self.clips: list[Clip] = [Clip(*row) for row in clips.itertuples(index=False, name=None)]
        self._shards: dict[str, Pcm] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # each process maps the shards itself

    def __len__(self) -> int:
        return len(self.clips)

    def part(self, first: int, end: int) -> "Recordings":
        """The rows from `first` up to `end`."""
        part = copy(self)
        part.clips, part._shards = self.clips[first:end], {}
        return part

    def __getitem__(self, row: int) -> Waveform:
        """The samples (time,) at 16 kHz, as recorded.

        A damaged part of the cache is decoded again. Raises UserError if its file has changed.
        """
        clip = self.clips[row]
        samples = self._map(clip.shard)[clip.offset : clip.offset + clip.length]
        if checksum(samples.data) != clip.checksum:
            samples = recover(self.folder, clip)
        return scale(samples, clip.peak / 32767)

    def _map(self, shard: str) -> Pcm:
        if shard not in self._shards:
            try:
                mapped = np.memmap(self.folder / f"{shard}.pcm", np.int16, mode="r")
                self._shards[shard] = np.asarray(mapped)  # whose slices cost a third
            except (OSError, ValueError):  # removed or emptied since the index was read
                self._shards[shard] = NOTHING
        return self._shards[shard]


def recover(folder: Path, clip: Clip) -> Pcm:
    """The samples of a clip from its file, after those in the cache were found damaged.

    The shard is removed, so the next run decodes all of it again.
    """
    log.warning("%s.pcm is damaged: reading %s instead", folder / clip.shard, clip.path)
    for stale in folder.glob(f"{clip.shard}.*"):
        remove(stale)
    found, samples = examine(Path(clip.path), clip.start, clip.end)
    if found.content != clip.content:
        raise UserError(
            f"the cache in {folder} is damaged, and {clip.path} has changed since: run this again"
        )
    return samples


class AudioCache:
    """Immutable shards of int16 samples, each with an index of its clips.

    A shard counts once its index has been written after it, so an interrupted run loses at most
    the shards in progress; a lock keeps two runs from doing the same work. The name of an index
    contains its checksum; the files of a damaged index or shard are decoded again. Equal samples
    are stored once, however many files contain them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser() / KEY
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"data.cache_dir={folder} cannot be used: {error}") from error
        self._loaded: set[str] = set()
        self._places: dict[str, dict[str, Any]] = {}
        self._clips = pd.DataFrame(columns=list(DTYPES)).astype(DTYPES)
        self._load()

    def add(self, sources: pd.DataFrame) -> pd.DataFrame:
        """What is known of each source (path, start, end), after decoding new and changed ones.

        Returns the fields of `Clip` as columns, one row for each row of `sources`, in their order.
        """
        wanted = with_state(sources)
        if len(self._missing(wanted)):
            with filling(self.folder):
                self._load()  # what another run added while this one waited
                self._tidy()
                self._decode(self._missing(wanted))
        found = wanted.merge(self._clips, on=STATE, how="left", validate="m:1")
        changed = found["decoder"].isna()  # the file had another state when it was decoded
        found.loc[changed, "fault"] = Fault.UNREADABLE.value
        found.loc[changed, "detail"] = "it changed while it was read"
        found.loc[changed, "content"] = ""
        return found[list(DTYPES)].set_index(sources.index)

    def recordings(self, contents: Sequence[str]) -> Recordings:
        """The clips with these content hashes, ready to be read."""
        known = self._clips.drop_duplicates("content").set_index("content", drop=False)
        return Recordings(self.folder, known.loc[list(contents), list(DTYPES)])

    def read(self, content: str) -> Waveform:
        """The samples (time,) at 16 kHz of the clip with this content hash."""
        return self.recordings([content])[0]

    def _tidy(self) -> None:
        """Remove what interrupted runs left behind; call under the lock."""
        used = set(self._clips["shard"])
        for path in (*self.folder.glob(".*.csv.*.tmp"), *self.folder.glob("*.pcm")):
            if path.suffix == ".tmp" or path.stem not in used:
                path.unlink(missing_ok=True)

    def _missing(self, sources: pd.DataFrame) -> pd.DataFrame:
        wanted = sources.drop_duplicates()
        found = wanted.merge(self._clips[STATE], on=STATE, how="left", indicator=True)
        return found.loc[found["_merge"] == "left_only", [*SOURCE, "size"]]

    def _decode(self, sources: pd.DataFrame) -> None:
        tables = [self._clips]
        with progress_bar("files") as progress:
            task = progress.add_task("Decoding audio", total=len(sources))
            try:
                for clips in fill_shards(self.folder, sources):
                    tables.append(self._index(clips))
                    progress.advance(task, len(clips))
            except OSError as error:
                raise UserError(
                    f"decoded audio cannot be written to {self.folder} ({error.strerror}):"
                    " make room, or move data.cache_dir"
                ) from error
        self._clips = pd.concat(tables, ignore_index=True)

    def _index(self, clips: list[Clip]) -> pd.DataFrame:
        """Write the index of a shard, which makes the shard count."""
        for clip in clips:
            if clip.content:
                self._places.setdefault(clip.content, place_of(clip))
        shard = next((clip.shard for clip in clips if clip.shard), uuid.uuid4().hex)
        rows = [vars(clip) | self._places.get(clip.content, {}) for clip in clips]
        samples = self.folder / f"{shard}.pcm"
        if all(row["shard"] != shard for row in rows):  # all its samples were stored already
            samples.unlink(missing_ok=True)
        else:
            flush(samples)
        table = pd.DataFrame({name: [row[name] for row in rows] for name in DTYPES}).astype(DTYPES)
        lasting = table[~table["fault"].isin(PASSING)]
        if len(lasting):
            index = lasting.to_csv(index=False).encode()
            name = f"{shard}.{zlib.crc32(index):08x}.csv"
            with replacing(self.folder / name) as file:
                file.write(index)
            self._loaded.add(name)
        return table

    def _load(self) -> None:
        tables = [self._clips]
        for path in sorted(self.folder.glob("*.csv")):
            if path.name not in self._loaded and (table := read_index(path)) is not None:
                self._loaded.add(path.name)
                tables.append(trusted(table))
        clips = pd.concat(tables, ignore_index=True)
        ends = (clips["offset"] + clips["length"]).groupby(clips["shard"]).max().to_dict()
        whole = {shard for shard, end in ends.items() if not shard or self._holds(str(shard), end)}
        clips = clips[clips["shard"].isin(whole)]
        self._clips = clips.drop_duplicates(STATE, ignore_index=True)
        stored = self._clips[self._clips["content"] != ""].drop_duplicates("content")
        places: list[Any] = stored[[*PLACE]].to_dict("records")
        self._places = dict(zip(stored["content"], places, strict=True))

    def _holds(self, shard: str, samples: int) -> bool:
        size, _ = identify(self.folder / f"{shard}.pcm")
        if size < 2 * samples:
            log.warning("%s.pcm is cut off: decoding its files again", self.folder / shard)
        return size >= 2 * samples


def place_of(clip: Clip) -> dict[str, Any]:
    return {name: getattr(clip, name) for name in PLACE}


def with_state(sources: pd.DataFrame) -> pd.DataFrame:
    """The sources (path, start, end) with the present size and modification time of their files."""
    paths = sources["path"].unique()
    states = pd.DataFrame([identify(Path(path)) for path in paths], columns=pd.Index(STATE[3:]))
    return sources[SOURCE].merge(states.assign(path=paths), on="path", how="left")


def fill_shards(folder: Path, sources: pd.DataFrame) -> Iterator[list[Clip]]:
    """Decode each source (path, start, end, size) into shards in `folder`; yields their clips."""
    share = min(CLIPS_PER_SHARD, max(FEWEST, math.ceil(len(sources) / cpu_count())))
    return on_all_cores(partial(fill_shard, folder), portions(sources, share), len(sources))


def portions(sources: pd.DataFrame, share: int) -> Iterator[list[Span]]:
    """Neighbouring sources together: at most `share`, fewer if their files are large."""
    some: list[Span] = []
    size, last = 0, None
    for path, start, end, file_size in sources.itertuples(index=False, name=None):
        some.append((path, start, end))
        size += file_size if path != last else 0
        last = path
        if len(some) == share or size > BYTES_PER_SHARD:
            yield some
            some, size, last = [], 0, None
    if some:
        yield some


def read_index(path: Path) -> pd.DataFrame | None:
    """The clips of an index, or None if it is damaged; then it is removed."""
    content = path.read_bytes()
    try:
        if path.suffixes[:1] == [f".{zlib.crc32(content):08x}"]:
            table = pd.read_csv(io.BytesIO(content), dtype=DTYPES, keep_default_na=False)
            missing = {name: value for name, value in DEFAULTS.items() if name not in table}
            return table.assign(**missing)[list(DTYPES)].astype(DTYPES)
    except (ValueError, KeyError):
        pass
    log.warning("%s is damaged: decoding its files again", path)
    remove(path)
    return None


def trusted(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips that the present decoder would find just so.

    The first one (0) misread some files of these formats, refused others, did not repair opposite
    phase, and scaled samples above full scale down. The next one (1) misread VOC files of several
    blocks, and refused AU files of unknown size and parts whose end was rounded up. Another one (2)
    refused some whole MP3 files, and did not see that parts of compressed files are missing.
    """
    doubtful = (
        (clips["channels"] > 1)
        | (clips["peak"] == 1.0)
        | clips["format"].str.startswith(("MP3", "OGG"))
    )
    wrong = (clips["decoder"] < 1) & doubtful
    checked = clips["format"].str.startswith(("WAV", "FLAC", "OGG"))
    wrong |= (clips["decoder"] < DECODER) & ((clips["fault"] != "") | ~checked)
    return clips[~wrong]


def remove(path: Path) -> None:
    """Remove a damaged file, unless the cache can only be read."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.debug("%s cannot be removed: %s", path, error)
