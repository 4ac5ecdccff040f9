"""Windows of many askers judged together: one thread has the network, the others wait for it.

A batch is whatever has come in while the one before was computed, so a lone window never waits
for company, and the busier it is, the fuller the batches are.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ser.audio import Waveform
from ser.predict import Predictor

NEAR = 1.5  # windows that differ more in length are not padded to each other

Row = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Asked:
    """A 16 kHz waveform (time,), and what will hold its probabilities (classes,)."""

    waveform: Waveform
    answer: "Future[Row]" = field(default_factory=Future)


class Batcher:
    """Judges waveforms for any number of threads; the oldest first, with others of like length.

    `observe` is called with the size of each batch. To be closed, so that its thread ends.
    """

    def __init__(
        self,
        predictor: Predictor,
        batch_size: int,
        observe: Callable[[int], object] = lambda size: None,
    ) -> None:
        self.predictor, self.batch_size, self.observe = predictor, batch_size, observe
        self._incoming: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, waveform: Waveform) -> "Future[Row]":
        """The probabilities (classes,) to come of a 16 kHz waveform (time,); may be cancelled.

        Raises RuntimeError once it is closed.
        """
        if self._closed:
            raise RuntimeError("the batcher is closed")
        asked = Asked(waveform)
        self._incoming.put(asked)
        return asked.answer

    def close(self) -> None:
        """Judge what was submitted, and end."""
        self._closed = True
        self._incoming.put(None)
        self._thread.join()

    def _work(self) -> None:
        waiting: list[Asked] = []
        closing = False
        while waiting or not closing:
            closing |= take(self._incoming, waiting)
            if waiting:
                batch = choose(waiting, self.batch_size)
                # The rest would only make the first ones wait for their answers.
                batch = batch[: self.predictor.at_once([asked.waveform for asked in batch])]
                chosen = set(map(id, batch))
                waiting = [asked for asked in waiting if id(asked) not in chosen]
                self._judge(batch)

    def _judge(self, batch: list[Asked]) -> None:
        batch = [asked for asked in batch if asked.answer.set_running_or_notify_cancel()]
        if not batch:
            return
        self.observe(len(batch))
        try:
            rows = self.predictor.probabilities([asked.waveform for asked in batch])
        except Exception as error:  # it belongs to whoever asked, and the next batch may do
            for asked in batch:
                asked.answer.set_exception(error)
            return
        for asked, row in zip(batch, rows, strict=True):
            asked.answer.set_result(row)


def take(incoming: "queue.SimpleQueue[Asked | None]", waiting: list[Asked]) -> bool:
    """Move all that has come in, after waiting for one if there is none; whether it was the end."""
    closing = False
    try:
        while True:
            asked = incoming.get(block=not waiting and not closing)
            if asked is None:
                closing = True
            else:
                waiting.append(asked)
    except queue.Empty:
        return closing


def choose(waiting: list[Asked], batch_size: int) -> list[Asked]:
    """The one that waits longest, and those nearest to it in length."""
    length = len(waiting[0].waveform)
    near = [
        asked for asked in waiting if length <= NEAR * len(asked.waveform) <= NEAR * NEAR * length
    ]
    return sorted(near, key=lambda asked: abs(len(asked.waveform) - length))[:batch_size]
