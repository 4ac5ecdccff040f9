"""Predictions while someone speaks into a microphone of this machine."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio.recording import Waveform
from ser.errors import UserError, optional_dependency
from ser.inference.live_windows import LiveWindows
from ser.inference.prediction import WindowPrediction
from ser.inference.settings import WindowConfig
from ser.inference.windows import Window, not_silent

if TYPE_CHECKING:
    from ser.inference.predictor import Predictor


@dataclass(frozen=True)
class Captured:
    """Samples (time,) at the rate of the microphone, and the monotonic time of their arrival."""

    samples: Waveform
    time: float


@dataclass(frozen=True)
class Microphone:
    """An open microphone: its rate in Hz and the blocks that have arrived."""

    sample_rate: int
    blocks: SimpleQueue[Captured]


@dataclass(frozen=True)
class LiveResult:
    """The prediction for the window from `start` to `end` seconds; None if it is silent.

    `abstained`: its highest probability is below the threshold of the model.
    `latency` is the time in seconds from the arrival of its last sample to the result. `skipped`
    windows before it were not evaluated, because the network was too slow.
    """

    start: float
    end: float
    prediction: WindowPrediction | None
    latency: float
    skipped: int
    abstained: bool = False


@contextmanager
def open_microphone(name: str | None = None) -> Iterator[Microphone]:
    """The microphone of that name or number, by default that of the system.

    Raises UserError if there is none or if it cannot be opened.
    """
    sounddevice = import_sounddevice()
    blocks: SimpleQueue[Captured] = SimpleQueue()

    def receive(samples: Any, frames: int, times: Any, status: Any) -> None:
        blocks.put(Captured(samples[:, 0].copy(), time.monotonic()))

    device = int(name) if name is not None and name.isdecimal() else name
    try:
        rate = int(sounddevice.query_devices(device, "input")["default_samplerate"])
        stream = sounddevice.InputStream(rate, device=device, channels=1, callback=receive)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(
            f"no microphone can be opened ({error}): connect one, or choose one with --input;"
            " `python -m sounddevice` lists them"
        ) from error
    with stream:
        yield Microphone(rate, blocks)


def import_sounddevice() -> Any:
    """The library. Raises UserError if it or PortAudio is not installed."""
    try:
        with optional_dependency("listen"):
            import sounddevice  # pyright: ignore[reportMissingImports]  # an extra
    except OSError as error:
        raise UserError(
            f"{error}: install PortAudio, for example with `apt install libportaudio2`"
        ) from error
    return sounddevice


def listen(
    microphone: Microphone,
    predictor: "Predictor",
    config: WindowConfig,
    seconds: float | None = None,
) -> Iterator[LiveResult]:
    """The result of each window while it is spoken, until `seconds` have been recorded.

    If several windows are complete, the newest one is evaluated. The last one ends with the
    recording, as in a file.
    """
    windows, recorded = LiveWindows(microphone.sample_rate, config), 0
    limit = math.inf if seconds is None else round(seconds * microphone.sample_rate)
    while recorded < limit:
        arrived = take_all(microphone.blocks)
        samples = np.concatenate([block.samples for block in arrived])
        if recorded + len(samples) > limit:
            samples = samples[: int(limit) - recorded]
        recorded += len(samples)
        complete = list(windows.push(samples))
        if recorded >= limit:
            complete += windows.finish()
        if complete:
            yield evaluate(predictor, complete[-1], arrived[-1].time, len(complete) - 1)


def take_all(blocks: SimpleQueue[Captured]) -> list[Captured]:
    """All blocks that have arrived, at least one."""
    taken = []
    while not taken:
        try:
            taken.append(blocks.get(timeout=0.1))  # without a timeout, Windows ignores Ctrl-C
        except Empty:
            continue
    while not blocks.empty():
        taken.append(blocks.get())
    return taken


def evaluate(predictor: "Predictor", window: Window, arrived: float, skipped: int) -> LiveResult:
    prediction, abstained = None, False
    if not_silent(window.waveform):
        [row] = predictor.probabilities([window.waveform])
        prediction = WindowPrediction.of(window.start, window.end, predictor.labels, row)
        abstained = predictor.abstains(float(row.max()))
    latency = time.monotonic() - arrived
    return LiveResult(window.start, window.end, prediction, latency, skipped, abstained)
