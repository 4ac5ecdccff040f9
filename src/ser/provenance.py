"""Where a result comes from: machine, versions, commit, and how long the training took."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from lightning import Trainer

from ser.atomic import write_text

PACKAGES = ("ser", "torch", "lightning", "transformers", "numpy", "soundfile", "soxr", "librosa")
FILE = "provenance.json"


@dataclass(frozen=True)
class Provenance:
    """The machine and the software that a command ran with, and how long it took.

    `devices` are its GPUs on this machine, and `joules` is what they used meanwhile; None where
    nothing counts it. Of a run that was resumed, seconds and joules are those of all its legs that
    were not killed on the spot.
    """

    seconds: float
    devices: list[str]
    processor: str
    cores: int
    system: str
    commit: str | None
    versions: dict[str, str] = field(default_factory=dict)
    joules: float | None = None


@dataclass(frozen=True)
class Beginning:
    """When a work began, on which GPUs, and what their counters said then."""

    time: float
    gpus: tuple[int, ...]
    joules: float | None


def begin(gpus: Iterable[int] = ()) -> Beginning:
    """Work that begins now, on the GPUs of these numbers."""
    chosen = tuple(gpus)
    return Beginning(time.monotonic(), chosen, read_energy(chosen) if chosen else None)


def gpus_of(trainer: Trainer) -> list[int]:
    """The numbers of the GPUs that a trainer uses on this machine."""
    alone = [trainer.strategy.root_device]
    devices: list[torch.device] = getattr(trainer.strategy, "parallel_devices", None) or alone
    return [device.index or 0 for device in devices if device.type == "cuda"]


def read_energy(gpus: Iterable[int]) -> float | None:
    """What these GPUs have used since their driver was loaded, in joules.

    None without nvidia-ml-py (`pip install 'ser[energy]'`), or where a GPU does not count it.
    """
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuids = [torch.cuda.get_device_properties(i).uuid for i in gpus]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}") for uuid in uuids]
        return sum(map(pynvml.nvmlDeviceGetTotalEnergyConsumption, handles)) / 1000
    except pynvml.NVMLError:
        return None


def observe(beginning: Beginning, before: Provenance | None = None) -> Provenance:
    """The machine and software at hand, and what the work took since its beginning.

    `before` tells of the legs of the same work that were done before.
    """
    now, joules = begin(beginning.gpus), None
    if now.joules is not None and beginning.joules is not None:
        joules = now.joules - beginning.joules + ((before and before.joules) or 0)
    return Provenance(
        seconds=round(now.time - beginning.time + (before.seconds if before else 0), 1),
        joules=joules,
        devices=[torch.cuda.get_device_name(index) for index in beginning.gpus],
        processor=processor(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        commit=commit(),
        versions={name: found for name in PACKAGES if (found := version_of(name))},
    )


def processor() -> str:
    """The name of the processor; Linux keeps it in a file only."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit that this package is at, with + after it where files differ; None outside git."""
    folder = Path(__file__).parent
    if not (folder.parents[1] / ".git").exists():  # installed, perhaps inside another repository
        return None
    try:
        git = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+"]
        done = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write(provenance: Provenance, folder: Path) -> None:
    write_text(folder / FILE, json.dumps(asdict(provenance), indent=2) + "\n")


def read(folder: Path) -> Provenance | None:
    """What a run wrote of itself, or None where it did not, or not in this form."""
    try:
        return Provenance(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
