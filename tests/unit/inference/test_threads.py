"""Threads that share a Predictor get what each recording gives alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from ser.corpora.emotions import LABELS
from ser.inference.load import TrainedModel
from ser.inference.predictor import Predictor
from ser.inference.vad import has_speech, load_detector

RATE = 16_000
SECONDS = (0.3, 0.45, 0.6, 0.8, 1.1, 1.5)
ROUNDS = 5


def make_noise(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype("f4")


def run_together(work: Callable[[int], Any], threads: int) -> list[list]:
    """The results of several rounds of `work` in each thread; every round begins at once."""
    barrier = Barrier(threads)

    def repeat(thread: int) -> list:
        results = []
        for _ in range(ROUNDS):
            barrier.wait(60)
            results.append(work(thread))
        return results

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(repeat, range(threads)))


def test_threads_with_recordings_of_different_lengths_do_not_mix(kind, make_network):
    network = make_network(kind).eval()
    predictor = Predictor(TrainedModel("tiny", network, True, tuple(LABELS), None, 2.0), "cpu")
    clips = [make_noise(seconds, seed) for seed, seconds in enumerate(SECONDS)]
    alone = [predictor.probabilities([clip])[0] for clip in clips]
    assert min(np.abs(a - b).max() for a, b in pairwise(alone)) > 5e-4

    def predict(thread: int) -> list[np.ndarray]:
        pair = [thread, (thread + 1) % len(clips)]  # padded to each other
        results = predictor([(clips[place], RATE) for place in pair])
        return [np.array(list(each.probabilities.values())) for each in results]

    for thread, rounds in enumerate(run_together(predict, len(clips))):
        for first, second in rounds:
            np.testing.assert_allclose(first, alone[thread], atol=1e-4)
            np.testing.assert_allclose(second, alone[(thread + 1) % len(clips)], atol=1e-4)


def make_voice(pitch: float = 150.0) -> np.ndarray:
    """Two vowels in turn for 3 s: pulses of a gliding pitch through three resonances."""
    time, decay = np.arange(3 * RATE) / RATE, np.arange(600) / RATE
    cycles = np.cumsum(pitch * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time))) / RATE
    voice = np.zeros(len(time))
    for turn, formants in enumerate([(700, 1200, 2600), (300, 2200, 2900)]):
        vowel = np.diff(np.floor(cycles), prepend=0.0)
        for formant in formants:
            resonance = np.exp(-220 * decay) * np.sin(2 * np.pi * formant * decay)
            vowel = np.convolve(vowel, resonance)[: len(time)]
            vowel /= np.abs(vowel).max()
        voice += vowel * np.clip(np.sin(np.pi * (4 * time + turn)), 0, 1)
    return (0.5 * voice / np.abs(voice).max()).astype("f4")


def test_threads_share_the_detector_of_speech():
    pytest.importorskip("silero_vad")
    load_detector()
    waveforms = [make_voice(), make_noise(2.0, 0)] * 3
    rounds = run_together(lambda thread: has_speech(waveforms[thread]), 6)
    assert rounds == [[True] * ROUNDS, [False] * ROUNDS] * 3
