"""The machine that a benchmark runs on: what it is, and what it could do at most."""

import os
import platform
import time
from datetime import date
from importlib.metadata import version
from typing import Any

import torch

from ser.provenance import processor

# Dense bf16 operations a second by the makers' data sheets, of cards whose names begin so.
PEAKS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}


def describe_machine() -> dict[str, Any]:
    packages = ("torch", "transformers", "lightning", "accelerate")
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "bf16": bool(torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()),
        "python": platform.python_version(),
        "audio": "real" if os.environ.get("SER_REAL_AUDIO") else "synthetic",
        **{name: version(name) for name in packages},
    }


def find_peak(device: str, size: int = 8192, rounds: int = 20) -> float:
    """Operations a second in bf16: those of the data sheet, or what a matrix product reaches."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    known = next((peak for card, peak in PEAKS.items() if name.startswith(card)), None)
    if known is not None:
        return known
    square = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    seconds = []
    for _ in range(rounds):
        wait_for_device()
        started = time.perf_counter()
        torch.mm(square, square)
        wait_for_device()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def wait_for_device() -> None:
    """GPUs work on behind the back of the program."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
