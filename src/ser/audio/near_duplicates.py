"""Find recordings that occur twice in the data without being identical.

Copies are found that were re-encoded, resampled (down to 8 kHz), scaled, inverted, padded or
trimmed (by up to half), or that have noise 20 dB below the voice. Landmarks (`ser.audio.landmarks`)
give candidates; cross-correlating the samples decides, so that two takes of one sentence by one
speaker are not taken for copies. Out of reach are copies at another speed or pitch, even by 0.2%,
and copies under strong noise or reverberation.
"""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
from joblib import cpu_count
from scipy.ndimage import uniform_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ser.audio.cache import AudioCache, Recordings
from ser.audio.examine import checksum
from ser.audio.landmarks import HOP, MAX_ROWS, Landmarks, find_candidates, find_landmarks
from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.errors import UserError
from ser.system.atomic import write_text
from ser.system.parallel import on_all_cores
from ser.system.progress import progress_bar

log = logging.getLogger(__name__)
VERSION = 4  # of the method; a change to it needs a new number
RATE = 8000  # Hz, at which samples are correlated: copies of a voice may have no more
FLAT = 33  # samples at RATE; what is slower than that (250 Hz) is left out, as hum is
REACH = 3 * HOP * RATE // SAMPLE_RATE // 2 + 1  # samples at RATE that an offset may be wrong by
PROBE = 4096  # samples at RATE of the loudest stretch, whose correlation gives the exact offset
MIN_OVERLAP = 0.5  # of the shorter one
STRETCHES = 4  # of equal energy, which have to be alike one by one
ALIKE = 0.72  # least correlation: copies have above 0.78, other recordings below 0.66
SHARE = 128  # recordings per task


def group_recordings(contents: Sequence[str], cache: AudioCache) -> dict[str, str]:
    """For each content hash, the hash that stands for it and all its copies: mostly itself.

    The result is kept in the cache and found again for the same contents.
    """
    contents = sorted(set(contents))
    pairs = load_pairs(contents, cache)
    rows = {content: row for row, content in enumerate(contents)}
    edges = [(rows[a], rows[b]) for a, b in pairs]
    left, right = np.array(edges, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(contents), len(contents)))
    _, group = connected_components(graph, directed=False)
    first = pd.Series(contents).groupby(group).first()
    return dict(zip(contents, first[group], strict=True))


def load_pairs(contents: Sequence[str], cache: AudioCache) -> list[tuple[str, str]]:
    """The pairs of near-duplicates among sorted contents, searched for only if they changed."""
    key = hashlib.sha256("\n".join([str(VERSION), *contents]).encode()).hexdigest()[:32]
    file = cache.folder / f"near-{VERSION}-{key}.tsv"
    lines = read_lines(file)
    if lines is None:
        recordings = cache.recordings(contents)
        lines = [f"{contents[a]}\t{contents[b]}\n" for a, b in find_pairs(recordings)]
        try:
            text = "".join(lines)
            write_text(file, f"{checksum(text.encode())}\n{text}")
        except OSError as error:  # the cache is read-only, or the disk is full
            log.warning("Near-duplicates are not kept in %s: %s", file, error.strerror)
    return [(line.split()[0], line.split()[1]) for line in lines]


def read_lines(file: Path) -> list[str] | None:
    """The lines below their checksum; None if there is no file or it is damaged."""
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    first, _, rest = text.partition("\n")
    if first == checksum(rest.encode()):
        return rest.splitlines()
    log.warning("%s is damaged: searching for near-duplicates again", file)
    return None


def find_pairs(recordings: Recordings) -> list[tuple[int, int]]:
    """The rows of recordings that are copies of each other."""
    if len(recordings) > MAX_ROWS:
        raise UserError(
            f"data.near_duplicates=true: {len(recordings):,} recordings; at most {MAX_ROWS:,}"
            " can be compared"
        )
    candidates = find_candidates(collect_landmarks(recordings), len(recordings))
    read = lru_cache(maxsize=16)(lambda row: voice_band(recordings[row]))

    def compare(candidate: list[int]) -> bool:
        first, second, late = candidate
        return correlate(read(first), read(second), late * RATE // SAMPLE_RATE) > ALIKE

    rows = candidates.tolist()
    bar = progress_bar("pairs", transient=True)  # usually few, but stretched speech has thousands
    with ThreadPoolExecutor(cpu_count()) as pool, bar:
        compared = pool.map(compare, rows)
        alike = list(bar.track(compared, len(rows), description="Comparing candidates"))
    return [(first, second) for (first, second, _), same in zip(rows, alike, strict=True) if same]


def collect_landmarks(recordings: Recordings) -> Landmarks:
    """The landmarks of all recordings."""
    count = len(recordings)
    shares = ((recordings.part(row, row + SHARE), row) for row in range(0, count, SHARE))
    found = [np.zeros(0, np.int64)]
    with progress_bar("clips") as progress:
        task = progress.add_task("Searching for copies", total=count)
        for landmarks in on_all_cores(find_all_landmarks, shares, count):
            found.append(landmarks)
            progress.update(task, completed=min(count, SHARE * (len(found) - 1)))
    return np.concatenate(found)


def find_all_landmarks(share: tuple[Recordings, int]) -> Landmarks:
    recordings, first = share
    found = [find_landmarks(recordings[row], first + row) for row in range(len(recordings))]
    return np.concatenate(found)


def voice_band(waveform: Waveform) -> Waveform:
    """A waveform (time,) at RATE without its lowest frequencies."""
    low: Waveform = soxr.resample(waveform, SAMPLE_RATE, RATE)
    return (low - uniform_filter1d(low, FLAT)).astype(np.float32)


def correlate(first: Waveform, second: Waveform, late: int) -> float:
    """The correlation of two waveforms (time,), from 0 to 1, in the stretch where it is lowest.

    The sign is ignored. The second one is `late` samples late, give or take REACH. An overlap of
    less than half counts as 0. Whole recordings of sustained tones of one pitch can correlate by
    0.85 although they differ; their stretches do not.
    """
    least = MIN_OVERLAP * min(len(first), len(second))
    a, b = overlap(first, second, late)
    if len(a) < max(least, FLAT):
        return 0.0
    size = min(PROBE, len(a))
    start = loudest(a, size)
    wide = np.pad(b, REACH)[start : start + size + 2 * REACH]
    lags = np.abs(np.correlate(wide, a[start : start + size], "valid"))
    a, b = overlap(first, second, late + int(lags.argmax()) - REACH)
    energy = np.cumsum(a**2)
    cuts = np.searchsorted(energy, energy[-1] * np.arange(1, STRETCHES) / STRETCHES)
    stretches = zip(np.split(a, cuts), np.split(b, cuts), strict=True)
    alike = (abs(x @ y) / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-12) for x, y in stretches)
    return float(min(alike))


def overlap(first: Waveform, second: Waveform, late: int) -> tuple[Waveform, Waveform]:
    """The parts of two waveforms (time,) that coincide if the second one is that late."""
    first, second = first[max(0, -late) :], second[max(0, late) :]
    length = min(len(first), len(second))
    return first[:length], second[:length]


def loudest(waveform: Waveform, size: int) -> int:
    """Where the loudest stretch of this many samples of a waveform (time,) begins, roughly."""
    power = uniform_filter1d(waveform**2, size)
    return int(np.clip(power.argmax() - size // 2, 0, len(waveform) - size))
