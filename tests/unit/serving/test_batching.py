"""Batches over requests."""

import threading

import numpy as np
import pytest

from ser.serving.batching import Batcher, PendingRequest, choose


class Recorder:
    """Stands for a predictor; the probabilities of a waveform are its length and first sample."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started, self.release = threading.Event(), threading.Event()

    def at_once(self, waveforms):
        return len(waveforms)

    def probabilities(self, waveforms):
        self.batches.append([len(each) for each in waveforms])
        self.started.set()
        assert self.release.wait(10)
        return np.array([[len(each), each[0]] for each in waveforms])


def waveform(length: int, value: float = 0.0) -> np.ndarray:
    return np.full(length, value, np.float32)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def batcher(recorder):
    batcher = Batcher(recorder, batch_size=4)
    yield batcher
    recorder.release.set()
    batcher.close()


def test_what_arrives_during_a_batch_is_the_next_one(batcher, recorder):
    answers = [batcher.submit(waveform(100, 1))]
    recorder.started.wait(10)
    answers += [batcher.submit(waveform(100, value)) for value in (2, 3, 4)]
    recorder.release.set()
    assert [each.result(10).tolist() for each in answers] == [[100, n] for n in (1, 2, 3, 4)]
    assert recorder.batches == [[100], [100] * 3]


def test_cancelled_requests_are_not_evaluated(batcher, recorder):
    first = batcher.submit(waveform(100))
    recorder.started.wait(10)
    others = [batcher.submit(waveform(200)), batcher.submit(waveform(300))]
    assert others[0].cancel()
    recorder.release.set()
    others[1].result(10)
    first.result(10)
    assert [200] not in recorder.batches


def test_a_failure_reaches_its_requests_and_the_next_batch_succeeds(batcher, recorder):
    recorder.release.set()
    with pytest.raises(IndexError):
        batcher.submit(waveform(0)).result(10)
    assert batcher.submit(waveform(5, 1)).result(10).tolist() == [5, 1]
    assert batcher.alive


def test_closing_answers_what_was_submitted_and_refuses_more(recorder):
    batcher = Batcher(recorder, batch_size=1)
    recorder.release.set()
    answers = [batcher.submit(waveform(10)) for _ in range(5)]
    batcher.close()
    assert all(each.done() for each in answers)
    with pytest.raises(RuntimeError):
        batcher.submit(waveform(10))


def test_the_oldest_comes_first_with_others_of_like_length():
    waiting = [PendingRequest(waveform(length)) for length in (100, 1000, 140, 60, 99, 101, 151)]
    assert [len(each.waveform) for each in choose(waiting, 3)] == [100, 99, 101]
    assert sorted(len(each.waveform) for each in choose(waiting, 9)) == [99, 100, 101, 140]
    assert [len(each.waveform) for each in choose(waiting[1:], 9)] == [1000]
