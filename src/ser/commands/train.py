"""`ser train` and `python train.py`."""

import shlex
import sys
from pathlib import Path
from typing import cast

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ser.commands.errors import reporting_stop
from ser.commands.hydra_job import launch, typed_overrides
from ser.config.overrides import quote
from ser.config.plain import convert, key_of
from ser.config.train import LAST_CHECKPOINT, TrainConfig, find_last_checkpoint
from ser.errors import require
from ser.system.files import shorten
from ser.system.libraries import silence_fonts
from ser.system.terminal import wrap

NEW_EACH_TIME = frozenset({"output_dir", "ckpt"})  # settings that a resumed run does not inherit


def main(words: list[str] | None = None) -> None:
    """Train with the options and overrides given, by default those of the command line."""
    from ser.commands.sweep import SweepFolder, conclude

    launch("train", TrainConfig, sys.argv[1:] if words is None else words, job)
    if SweepFolder.path is not None:
        sys.exit(conclude(SweepFolder.path))


def job(composed: DictConfig) -> float:
    config = convert(settle(composed), TrainConfig)
    silence_fonts()
    with reporting_stop(lambda: describe_resume(Path(config.output_dir))):
        # Heavy, so only after the config has been checked.
        from ser.commands.training_job import run

        return run(config, sweep_folder())


def describe_resume(folder: Path) -> str:
    """How to continue a training that is stopped now."""
    if not (folder / LAST_CHECKPOINT).is_file():
        return "There is no checkpoint yet: the same command starts again."
    return f"To resume: {shlex.join(['ser', 'train', f'ckpt={shorten(folder)}'])}"


def settle(composed: DictConfig) -> DictConfig:
    """Fill in the folder and the overrides of a run; call inside a Hydra job.

    With `ckpt`, the settings of that run come first and those typed now override them. The run
    continues in its own folder unless `output_dir` is typed, so `ckpt=...` alone resumes it.
    """
    hydra = HydraConfig.get()
    typed, folder = typed_overrides(), hydra.runtime.output_dir
    require(bool(str(composed.output_dir).strip()), "output_dir", "", "is empty")
    if composed.ckpt is None:
        return fill_in(composed, folder, typed)
    checkpoint = find_last_checkpoint(composed.ckpt)
    from ser.models.checkpoint import Checkpoint  # heavy, and only resuming needs it

    opened = Checkpoint.open(checkpoint)
    keys = {key_of(override) for override in typed}
    then = [
        old for old in opened.metadata.config.command if key_of(old) not in keys | NEW_EACH_TIME
    ]
    if then:
        print(wrap(f"Resuming with the settings of that run: {' '.join(then)}", sys.stdout))
    if "output_dir" not in keys and hydra.mode == RunMode.RUN:
        folder = str(opened.run_folder)
    command = [*then, *typed]
    settled = compose("train", overrides=[quote(override) for override in command])
    return fill_in(settled, folder, command, ckpt=str(checkpoint))


def sweep_folder() -> Path | None:
    """The folder that holds the folders of all jobs of a sweep; call inside a Hydra job."""
    hydra = HydraConfig.get()
    return Path(hydra.runtime.output_dir).parent if hydra.mode == RunMode.MULTIRUN else None


def fill_in(composed: DictConfig, folder: str, command: list[str], **more: str) -> DictConfig:
    known = {"output_dir": folder, "command": command, **more}
    return cast(DictConfig, OmegaConf.merge(composed, known))
