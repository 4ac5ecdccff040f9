"""Landmark fingerprints, which find recordings that share a stretch of sound.

After Wang (2003), "An industrial-strength audio search algorithm": pairs of spectral peaks are
hashed, and two recordings that share many hashes at one time offset are candidates for copies.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from ser.audio.recording import Waveform

WINDOW, HOP = 512, 192  # samples: 32 and 12 ms
LOWEST, HIGHEST = 6, 128  # bins: 190 Hz to 4 kHz, which every codec keeps
NEAR_BINS, NEAR_FRAMES = 9, 15  # a peak is the highest within these distances
FLOOR = 1e-4  # of the power of the highest peak
FAN_OUT, FURTHEST = 4, 63  # each peak is paired with the next few, up to 0.75 s later
NEIGHBOURS = 8  # other landmarks with the same hash that a landmark is compared with
MIN_SHARED, MIN_SHARE = 6, 0.05  # landmarks in common: at least this number, and this share of all
HANN = np.hanning(WINDOW).astype(np.float32)

Landmarks = NDArray[np.int64]
"""One number per landmark: from the highest bit on, its hash, the row of its recording, and the
frame where it begins."""
ROW_BITS, FRAME_BITS = 20, 22  # below a hash of 20 bits
MAX_ROWS, MAX_FRAMES = 2**ROW_BITS, 2**FRAME_BITS - 1  # 14 hours
OFFSET_BITS = FRAME_BITS + 1


def find_landmarks(waveform: Waveform, row: int = 0) -> Landmarks:
    """The landmarks of a waveform (time,) at 16 kHz, which is that row of a list."""
    if len(waveform) < WINDOW:
        return np.zeros(0, np.int64)
    frames, bins = find_peaks(spectrum(waveform))
    first, last = np.arange(len(frames))[:, None], len(frames) - 1
    later = first + np.arange(1, FAN_OUT + 1)
    paired, later = later <= last, np.minimum(later, last)
    apart = frames[later] - frames[first]
    paired &= (apart > 0) & (apart <= FURTHEST) & (frames[first] < MAX_FRAMES)
    key = (bins[first] * 128 + bins[later]) * 64 + apart
    return (((key << ROW_BITS) + row << FRAME_BITS) + frames[first])[paired]


def spectrum(waveform: Waveform) -> NDArray[np.float32]:
    """The power spectrogram (bins, frames) of a waveform (time,) between the bins used."""
    windows = sliding_window_view(waveform, WINDOW)[::HOP] * HANN
    bins: NDArray[np.complex64] = np.asarray(fft.rfft(windows))[:, LOWEST:HIGHEST]
    return np.ascontiguousarray((bins.real**2 + bins.imag**2).T)


def find_peaks(power: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames and bins of the peaks of a spectrogram (bins, frames), in the order of time."""
    nearby = running_max(power, NEAR_BINS)
    highest = running_max(np.ascontiguousarray(nearby.T), NEAR_FRAMES)
    frames, bins = np.nonzero((highest == power.T) & (highest > FLOOR * power.max()))
    return frames, bins


def running_max(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The maximum of `width` neighbours along the first axis (odd, centred).

    Maxima of doubling widths take a third of the time of scipy.ndimage.maximum_filter1d.
    """
    count, side = len(values), width // 2
    padded = np.pad(values, ((side, side), (0, 0)), constant_values=-1)
    reach = 1
    while 2 * reach <= width:
        padded = np.maximum(padded[:-reach], padded[reach:])
        reach *= 2
    return np.maximum(padded[:count], padded[width - reach :][:count])


def find_candidates(landmarks: Landmarks, count: int) -> NDArray[np.int64]:
    """Pairs of `count` rows that share many landmarks at one offset.

    Returns (pairs, 3): a row, a later row, and how many samples the second one is late by, to
    within 1.5 HOP. Offsets are counted in pairs of neighbours: if a copy is shifted by half a
    frame, the shared landmarks are spread over two.
    """
    votes = np.concatenate(list(collect_votes(np.sort(landmarks))))
    votes.sort()
    totals = np.bincount(landmarks >> FRAME_BITS & MAX_ROWS - 1, minlength=count)
    found = [count_frequent(votes + shift >> 1, MIN_SHARED) for shift in (0, 1)]
    both, shared = (np.concatenate(each) for each in zip(*found, strict=True))
    shift = np.repeat([0, 1], [len(values) for values, _ in found])
    bits = OFFSET_BITS - 1
    first, second = both >> bits + ROW_BITS, both >> bits & MAX_ROWS - 1
    offset = (both & (1 << bits) - 1) * 2 - shift - MAX_FRAMES  # of the first of the two
    enough = shared >= np.maximum(MIN_SHARED, MIN_SHARE * np.minimum(totals[first], totals[second]))
    pairs = np.column_stack([first, second, offset * HOP + HOP // 2])
    best = np.argsort(-shared[enough], kind="stable")
    pairs = pairs[enough][best]
    return pairs[np.unique(pairs[:, :2], axis=0, return_index=True)[1]]


def collect_votes(landmarks: Landmarks) -> Iterator[NDArray[np.int64]]:
    """One number per pair of equal hashes in two rows: both rows and the offset in frames."""
    keys = landmarks >> ROW_BITS + FRAME_BITS
    rows, frames = landmarks >> FRAME_BITS & MAX_ROWS - 1, landmarks & MAX_FRAMES
    for step in range(1, NEIGHBOURS + 1):
        same = (keys[step:] == keys[:-step]) & (rows[step:] != rows[:-step])
        offset = frames[step:][same] - frames[:-step][same] + MAX_FRAMES
        yield ((rows[:-step][same] << ROW_BITS) + rows[step:][same] << OFFSET_BITS) + offset


def count_frequent(
    ordered: NDArray[np.int64], least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that are there at least this many times in a sorted array, and how many times.

    Nearly all votes are unique: numpy.unique would spend seconds on counting them.
    """
    last = ordered[least - 1 :]
    repeated = last[last == ordered[: len(last)]]
    frequent = np.unique(repeated)
    ends = np.searchsorted(ordered, frequent, "right")
    return frequent, ends - np.searchsorted(ordered, frequent, "left")
