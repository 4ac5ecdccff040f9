"""The provenance of a result: machine, versions, commit and training time."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer

from ser.system.atomic import write_text
from ser.version import __version__

PACKAGES = ("torch", "lightning", "transformers", "numpy", "soundfile", "soxr", "librosa")
FILE = "provenance.json"


@dataclass(frozen=True)
class Provenance:
    """The machine and the software of a command, and how long it took.

    `devices` are its GPUs on this machine, `joules` is the energy that they used; None if it was
    not measured. For a resumed run both times and energies are summed over its parts; what a
    killed part did after its last validation does not count.
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
    """When a command began, on which GPUs, and their energy counters at that time."""

    time: float
    gpus: tuple[int, ...]
    joules: float | None


def begin(gpus: Iterable[int] = ()) -> Beginning:
    """Start measuring now, on the GPUs with these indices."""
    chosen = tuple(gpus)
    return Beginning(time.monotonic(), chosen, read_energy(chosen) if chosen else None)


def gpus_of(trainer: Trainer) -> list[int]:
    """The indices of the GPUs that a trainer uses on this machine."""
    alone = [trainer.strategy.root_device]
    devices: list[torch.device] = getattr(trainer.strategy, "parallel_devices", None) or alone
    return [device.index or 0 for device in devices if device.type == "cuda"]


def read_energy(gpus: Iterable[int]) -> float | None:
    """The energy in joules that these GPUs have used since their driver was loaded.

    None without nvidia-ml-py (the extra `energy`), or if a GPU does not count it.
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
    """The machine and software, and the time and energy since the beginning.

    `before` is the provenance of the earlier parts of a resumed run.
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
        versions={"ser": __version__}
        | {name: found for name in PACKAGES if (found := version_of(name))},
    )


def processor() -> str:
    """The name of the processor, which Linux has in a file only."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def commit() -> str | None:
    """The commit of this package, with a + if files differ from it; None outside a clone."""
    folder = Path(__file__).parent
    if not (folder.parents[2] / ".git").exists():  # installed, perhaps inside another repository
        return None
    try:
        git = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+"]
        done = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class ProvenanceLog(Callback):
    """Write the provenance after each validation, so that a run that is killed has one.

    `before` is that of the earlier parts of a resumed run.
    """

    def __init__(self, beginning: Beginning, before: Provenance | None, folder: Path) -> None:
        self.beginning, self.before, self.folder = beginning, before, folder

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.write(trainer)

    def write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            with suppress(OSError):  # on a full disk the first error is the one to report
                write(observe(self.beginning, self.before), self.folder)


def write(provenance: Provenance, folder: Path) -> None:
    write_text(folder / FILE, json.dumps(asdict(provenance), indent=2) + "\n")


def read(folder: Path) -> Provenance | None:
    """The provenance that a run recorded; None if it is missing or not readable."""
    try:
        return Provenance(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
