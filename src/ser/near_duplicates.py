"""Find recordings that are in the data twice without being identical: re-encoded, or trimmed.

Landmark fingerprints after Wang (2003), "An industrial-strength audio search algorithm": pairs of
spectral peaks are hashed, and two recordings that share many hashes at one time offset are
candidates. Cross-correlating their samples at that offset then decides, so that two takes of one
sentence by one speaker are not taken for one.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import xxhash
from joblib import cpu_count
from numpy.fft import irfft, rfft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import maximum_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ser.atomic import write_text
from ser.audio import Waveform
from ser.cache import AudioCache, Recordings
from ser.cores import on_all_cores
from ser.progress import progress_bar

VERSION = 2  # of the method: a change to it needs a new number
WINDOW, HOP = 512, 256  # samples: 32 and 16 ms
LOWEST, HIGHEST = 6, 128  # bins: 190 Hz to 4 kHz, which every codec keeps
NEAR_BINS, NEAR_FRAMES = 9, 11  # a peak is the highest of so many around it
FAN_OUT, FURTHEST = 4, 63  # each peak is paired with the next few, up to a second later
NEIGHBOURS = 8  # others with the same hash that a landmark is compared with
MIN_SHARED, MIN_SHARE = 6, 0.05  # landmarks in common: at least so many, and that share of all
MIN_OVERLAP = 0.5  # of the shorter one
ALIKE = 0.72  # correlation at the best lag: of copies 0.79 and more, of real takes at most 0.2

OFFSETS = 2**20  # frames, more than any two landmarks of four hours are apart
SHARE = 128  # recordings for a core at once

Landmarks = NDArray[np.int64]


def group_recordings(contents: Sequence[str], cache: AudioCache) -> dict[str, str]:
    """For each content hash, that of the recording it is a copy of: mostly itself.

    The result is kept in the cache, and found again for the same contents.
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
    """The pairs of near-duplicates among sorted contents, found anew only where they changed."""
    key = hashlib.sha256("\n".join([str(VERSION), *contents]).encode()).hexdigest()[:32]
    file = cache.folder / f"near-{key}.tsv"
    lines = read_lines(file)
    if lines is None:
        recordings = cache.recordings(contents)
        lines = [f"{contents[a]}\t{contents[b]}\n" for a, b in find_pairs(recordings)]
        write_text(file, "".join([f"{sum_up(lines)}\n", *lines]))
    return [(line.split()[0], line.split()[1]) for line in lines]


def sum_up(lines: list[str]) -> str:
    return xxhash.xxh3_64_hexdigest("".join(lines).encode())


def read_lines(file: Path) -> list[str] | None:
    """The lines below a checksum of them; None where there are none, or not as written."""
    if not file.is_file():
        return None
    first, *lines = file.read_text(errors="replace").splitlines(keepends=True) or [""]
    return lines if first.strip() == sum_up(lines) else None


def find_pairs(recordings: Recordings) -> list[tuple[int, int]]:
    """The rows of recordings that are copies of each other."""
    landmarks = collect_landmarks(recordings)
    candidates = find_candidates(landmarks, len(recordings))
    bar = progress_bar("pairs", transient=True)  # mostly few, but stretched speech has thousands
    with ThreadPoolExecutor(cpu_count()) as pool, bar:
        judged = pool.map(lambda row: correlate(recordings, *row), candidates.tolist())
        alike = list(bar.track(judged, len(candidates), description="Comparing those alike"))
    found = candidates[np.array(alike) > ALIKE] if alike else candidates
    return sorted({(first, second) for first, second, _ in found.tolist()})


def collect_landmarks(recordings: Recordings) -> Landmarks:
    """All landmarks (landmarks, 3): hash, row of the recording, frame."""
    found, first, count = [], 0, len(recordings)
    shares = (recordings.part(row, row + SHARE) for row in range(0, count, SHARE))
    with progress_bar("clips") as progress:
        task = progress.add_task("Looking for copies", total=count)
        for each in on_all_cores(find_all_landmarks, shares, count):
            for row, (keys, frames) in enumerate(each, first):
                found.append(np.column_stack([keys, np.full(len(keys), row), frames]))
            first += len(each)
            progress.advance(task, len(each))
    return np.concatenate(found) if found else np.zeros((0, 3), np.int64)


def find_all_landmarks(recordings: Recordings) -> list[tuple[Landmarks, Landmarks]]:
    return [find_landmarks(recordings[row]) for row in range(len(recordings))]


def find_landmarks(waveform: Waveform) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hashes of the landmarks of a waveform (time,), and the frames where they begin."""
    nothing = np.zeros(0, np.int64)
    if len(waveform) < WINDOW:
        return nothing, nothing
    windows = sliding_window_view(waveform, WINDOW)[::HOP] * np.hanning(WINDOW).astype(np.float32)
    power = np.abs(np.asarray(fft.rfft(windows))[:, LOWEST:HIGHEST])  # (frames, bins)
    nearby = maximum_filter1d(power, NEAR_BINS, axis=1)
    highest = maximum_filter1d(nearby, NEAR_FRAMES, axis=0)
    frames, bins = np.nonzero((power == highest) & (power > 0.01 * power.max()))
    keys, starts = [nothing], [nothing]
    for step in range(1, FAN_OUT + 1):
        apart = frames[step:] - frames[:-step]
        near = (apart > 0) & (apart <= FURTHEST)
        pair = (bins[:-step] * 128 + bins[step:]) * 64 + apart
        keys.append(pair[near])
        starts.append(frames[:-step][near])
    return np.concatenate(keys), np.concatenate(starts)


def find_candidates(landmarks: Landmarks, count: int) -> NDArray[np.int64]:
    """Pairs of rows that share many landmarks at one offset (pairs, 3): row, row, frames."""
    keys, rows, frames = landmarks[np.lexsort((landmarks[:, 1], landmarks[:, 0]))].T
    totals = np.bincount(rows, minlength=count)
    votes = []
    for step in range(1, NEIGHBOURS + 1):
        same = (keys[step:] == keys[:-step]) & (rows[step:] != rows[:-step])
        first, second = rows[:-step][same], rows[step:][same]
        offset = frames[step:][same] - frames[:-step][same]
        votes.append((first * count + second) * OFFSETS + offset + OFFSETS // 2)
    where, shared = count_frequent(np.concatenate(votes), MIN_SHARED)
    pair, offset = where // OFFSETS, where % OFFSETS - OFFSETS // 2
    first, second = pair // count, pair % count
    enough = np.maximum(MIN_SHARED, MIN_SHARE * np.minimum(totals[first], totals[second]))
    return np.column_stack([first, second, offset])[shared >= enough]


def count_frequent(
    values: NDArray[np.int64], least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that are there at least so many times, and how many times.

    Nearly all votes are alone: numpy.unique would spend seconds on counting those.
    """
    ordered = np.sort(values)
    frequent = np.unique(ordered[least - 1 :][ordered[least - 1 :] == ordered[: 1 - least]])
    ends = np.searchsorted(ordered, frequent, "right")
    return frequent, ends - np.searchsorted(ordered, frequent, "left")


def correlate(recordings: Recordings, first: int, second: int, offset: int) -> float:
    """The correlation of two recordings, the second `offset` frames later, at the best lag."""
    a, b = np.diff(recordings[first]), np.diff(recordings[second])  # so that no hum decides
    shorter = min(len(a), len(b))
    shift = offset * HOP
    a, b = (a, b[shift:]) if shift >= 0 else (a[-shift:], b)
    length = min(len(a), len(b))
    if length < MIN_OVERLAP * shorter:
        return 0.0
    a, b = a[:length], b[:length]
    size = cast(int, fft.next_fast_len(2 * length))
    products = irfft(rfft(a, size).conj() * rfft(b, size), size)
    lags = np.concatenate([products[: HOP + 1], products[-HOP:]])
    return float(lags.max() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12))
