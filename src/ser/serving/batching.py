"""Batches of windows from concurrent requests: one thread runs the network.

A batch is whatever has arrived while the previous one was computed. A lone window never waits for
others, and the batches grow with the load.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ser.audio.recording import Waveform
from ser.inference.predictor import Predictor

LENGTH_RATIO = 1.5  # windows whose lengths differ by more are not padded to each other

Row = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PendingRequest:
    """A 16 kHz waveform (time,) and the future of its probabilities (classes,)."""

    waveform: Waveform
    answer: "Future[Row]" = field(default_factory=Future)


class Batcher:
    """Evaluates waveforms for any number of threads: the oldest first, with others of like length.

    `observe` is called with the size of each batch. `close` ends the thread.
    """

    def __init__(
        self,
        predictor: Predictor,
        batch_size: int,
        observe: Callable[[int], object] = lambda size: None,
    ) -> None:
        self.predictor, self.batch_size, self.observe = predictor, batch_size, observe
        self._incoming: queue.SimpleQueue[PendingRequest | None] = queue.SimpleQueue()
        self._closed, self._lock = False, threading.Lock()
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, waveform: Waveform) -> "Future[Row]":
        """The future probabilities (classes,) of a 16 kHz waveform (time,); it can be cancelled.

        Raises RuntimeError after `close`.
        """
        request = PendingRequest(waveform)
        with self._lock:  # nothing may come after the end
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._incoming.put(request)
        return request.answer

    def close(self) -> None:
        """Evaluate what was submitted, and end the thread."""
        with self._lock:
            self._closed = True
            self._incoming.put(None)
        self._thread.join()

    def _work(self) -> None:
        waiting: list[PendingRequest] = []
        closing = False
        while waiting or not closing:
            closing |= collect(self._incoming, waiting)
            if waiting:
                batch = choose(waiting, self.batch_size)
                # More would only delay the answers of the first ones.
                batch = batch[: self.predictor.at_once([each.waveform for each in batch])]
                chosen = set(map(id, batch))
                waiting = [each for each in waiting if id(each) not in chosen]
                self._evaluate(batch)

    def _evaluate(self, batch: list[PendingRequest]) -> None:
        batch = [each for each in batch if each.answer.set_running_or_notify_cancel()]
        if not batch:
            return
        self.observe(len(batch))
        try:
            rows = self.predictor.probabilities([each.waveform for each in batch])
        except Exception as error:  # for these requests; the next batch may succeed
            for each in batch:
                each.answer.set_exception(error)
            return
        for each, row in zip(batch, rows, strict=True):
            each.answer.set_result(row)


def collect(
    incoming: "queue.SimpleQueue[PendingRequest | None]", waiting: list[PendingRequest]
) -> bool:
    """Move all that has arrived to `waiting`; if both are empty, wait for one.

    True if the end has arrived.
    """
    closing = False
    try:
        while True:
            request = incoming.get(block=not waiting and not closing)
            if request is None:
                closing = True
            else:
                waiting.append(request)
    except queue.Empty:
        return closing


def choose(waiting: list[PendingRequest], batch_size: int) -> list[PendingRequest]:
    """The oldest request and those nearest to it in length."""
    length = len(waiting[0].waveform)
    near = [
        each
        for each in waiting
        if length <= LENGTH_RATIO * len(each.waveform) <= LENGTH_RATIO**2 * length
    ]
    return sorted(near, key=lambda each: abs(len(each.waveform) - length))[:batch_size]
