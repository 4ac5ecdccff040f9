"""Throughput and latency of `ser serve` against a server that handles one recording at a time.

`make bench-serving`, or `python benchmarks/serving.py [requests [clients]]`. All servers run the
same network of wav2vec2-base size with random weights, one after the other on loopback: `ser
serve`, the same with a batch size of one, and FastAPI around `transformers.pipeline`.
"""

import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from inference import choose_clips, describe, write_model
from rich.console import Console
from rich.table import Table
from transformers import pipeline

from ser import Predictor
from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.serving.app import create_app
from ser.serving.limits import Limits
from ser.serving.server import configure, listen

LIMITS = Limits(timeout=600, waiting=1000)


def main(count: int = 48, clients: int = 8) -> None:
    torch.manual_seed(0)
    clips = choose_clips(count)
    bodies = [to_wav(clip) for clip in clips]
    with tempfile.TemporaryDirectory() as temporary:
        base = write_model(Path(temporary, "base"))
        predictor = Predictor.from_checkpoint(base, "cpu", precision="auto")
        apps = {
            "pipeline, one at a time": usual_app(base),
            "ser serve --batch-size 1": create_app(predictor, LIMITS, batch_size=1),
            "ser serve": create_app(predictor, LIMITS),
        }
        measured = {name: measure(app, bodies, clients) for name, app in apps.items()}
    title = f"{describe(clips)}; {count} requests by {clients} clients"
    table = Table("server", "requests/s", "p50, s", "p95, s", "throughput", title=title)
    usual = next(iter(measured.values()))[0]
    for name, (rate, latencies) in measured.items():
        p50, p95 = np.percentile(latencies, [50, 95])
        table.add_row(name, f"{rate:.2f}", f"{p50:.2f}", f"{p95:.2f}", f"{rate / usual:.2f}x")
    Console(width=110).print(table)


def to_wav(waveform: Waveform) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV")
    return buffer.getvalue()


def usual_app(base: Path) -> FastAPI:
    """The usual ten lines: the pipeline behind a route, and a lock around it."""
    classify = pipeline("audio-classification", model=str(base), device="cpu", top_k=None)
    one_at_a_time = threading.Lock()
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile) -> Any:
        waveform, rate = soundfile.read(io.BytesIO(file.file.read()), dtype="float32")
        with one_at_a_time:
            return classify({"raw": waveform, "sampling_rate": rate})

    return app


def measure(app: FastAPI, bodies: list[bytes], clients: int) -> tuple[float, list[float]]:
    """Requests per second, and the seconds of each request, with concurrent clients."""
    with serving(app) as address, httpx.Client(base_url=address, timeout=600) as client:

        def ask(body: bytes) -> float:
            started = time.perf_counter()
            client.post("/predict", files={"file": body}).raise_for_status()
            return time.perf_counter() - started

        ask(bodies[0])  # warm-up
        with ThreadPoolExecutor(clients) as threads:
            started = time.perf_counter()
            latencies = list(threads.map(ask, bodies))
        return len(bodies) / (time.perf_counter() - started), latencies


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of an application in a thread of this process."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(configure(app, seconds=1))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
