"""What the tests of service, live sessions and demo share."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import uvicorn

from ser.inference.predictor import Predictor
from ser.serving.server import configure, listen, name_address

GOLDEN = Path(__file__).parent / "golden" / "v0.1" / "exported"


@cache
def load_predictor() -> Predictor:
    """A tiny network that was trained on synthetic tones."""
    return Predictor.from_checkpoint(GOLDEN, device="cpu")


class SlowPredictor(Predictor):
    """As slow as a large network."""

    pause = 0.5

    def probabilities(self, waveforms):
        time.sleep(self.pause)
        return super().probabilities(waveforms)


def load_slow(pause: float = 0.5) -> Predictor:
    predictor = SlowPredictor.from_checkpoint(GOLDEN, device="cpu")
    predictor.pause = pause  # pyright: ignore[reportAttributeAccessIssue]
    return predictor


def write_noise(
    seconds: float = 1.0, rate: int = 16_000, channels: int = 1, seed: int = 0, kind: str = "WAV"
) -> bytes:
    """Noise as an audio file: a distinct recording per seed."""
    shape = (round(seconds * rate), channels)
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


@cache
def write_clicks(seconds: float, rate: int, channels: int) -> bytes:
    """A FLAC file that is small for its length: a click per second."""
    buffer = io.BytesIO()
    block = np.zeros((rate, channels), np.int16)
    block[0] = 9_000
    with soundfile.SoundFile(buffer, "w", rate, channels, format="FLAC") as file:
        for _ in range(round(seconds)):
            file.write(block)
    return buffer.getvalue()


@contextmanager
def serving(app: Any, header_seconds: float = 10.0) -> Iterator[str]:
    """The address of an application that runs in a thread, as `ser serve` configures it."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(configure(app, 1, header_seconds))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield name_address(listening)
    finally:
        server.should_exit = True
        thread.join(30)


class ServedCommand:
    """A command that serves in its own process, its address and its log."""

    def __init__(self, name: str, log: Path, *options: str, **environment: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "ser.commands.main", name, "--ckpt", str(GOLDEN)]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--device", "cpu", *options],
            stderr=log.open("w"),
            stdout=subprocess.DEVNULL,
            env=os.environ | environment,
        )

    def wait_for(self, message: str, seconds: float = 300) -> dict[str, Any]:
        """The first line of the log with this message."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in self.lines():
                if line["message"] == message:
                    return line
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise TimeoutError(self.log.read_text())

    def lines(self) -> list[dict[str, Any]]:
        """The log; raises ValueError for a line that is not JSON."""
        text = self.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
