"""The machine that a benchmark runs on: what it is, and what it could do at most."""

import os
import platform
import resource
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ser.models.precision import computes_bf16
from ser.training.provenance import processor

# Dense bf16 operations per second by the data sheets, for cards whose names begin like this.
PEAKS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}


def describe_machine() -> dict[str, Any]:
    packages = ("torch", "transformers", "lightning", "accelerate")
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "bf16": computes_bf16(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "python": platform.python_version(),
        "audio": "real" if os.environ.get("SER_REAL_AUDIO") else "synthetic",
        **{name: version(name) for name in packages},
    }


def find_peak(device: str, size: int = 8192, rounds: int = 20) -> float:
    """Operations per second in bf16: those of the data sheet, or what a matrix product reaches."""
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


def peak_kib() -> int:
    """The most memory of this process in KiB, without that of the process that started it.

    `ru_maxrss` begins with the memory of the parent at the fork.
    """
    status = Path("/proc/self/status")
    if not status.is_file():  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [line] = [each for each in status.read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1])


def wait_for_device() -> None:
    """Wait until a GPU has finished: kernels run asynchronously."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
