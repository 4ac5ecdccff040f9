"""`ser probe`"""

import shlex
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser.commands.options import ConfigDir, Overrides, refuse_settings
from ser.config.model import PROBED
from ser.config.plain import key_of
from ser.errors import UserError

if TYPE_CHECKING:
    from ser.config.train import TrainConfig


def probe(
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: runs/probe_DATE_TIME.")
    ] = None,
    test: Annotated[
        bool,
        typer.Option("--test", help="Also show scores of the test part, which choose nothing."),
    ] = False,
    config_dir: ConfigDir = None,
) -> None:
    """Compare the layers of a frozen backbone by linear classifiers, and choose one to train.

    The layer and the regularisation are chosen by cross-validation inside the
    training part, over speakers or corpora (model.fit_folds). The last line is
    the command that trains.
    """
    from ser.config.compose import compose_command
    from ser.config.train import TrainConfig

    typed = overrides or []
    check(typed)
    folder = output or Path(f"runs/probe_{datetime.now():%Y-%m-%d_%H-%M-%S}")
    words = ["model=linear", *typed, f"output_dir={folder}"]
    config = on_one_device(compose_command("train", words, TrainConfig, config_dir), typed)
    # Heavy, so only after the config has been checked.
    from ser.audio.cache import AudioCache
    from ser.models.build import describe_network
    from ser.preparation.prepare import prepare
    from ser.reports import probe as report
    from ser.system.libraries import silence_warnings
    from ser.system.terminal import show_logs
    from ser.training import probe as probing

    silence_warnings()
    show_logs()
    describe_network(config.model, config.data.label_space)  # before the data, to fail early
    cache = AudioCache(Path(config.data.cache_dir))
    result = probing.probe(config, prepare(config.data, config.split, cache), cache, test=test)
    own = [] if config_dir is None else ["--config-dir", str(config_dir)]
    command = shlex.join(["ser", "train", *own, *result.training_overrides])
    report.write(result, command, folder)
    report.show(result, command, folder)


def check(overrides: list[str]) -> None:
    """Raise UserError for a setting that a probe does not use or chooses itself."""
    refuse_settings(overrides, output_dir="the folder is set by --output", ckpt="it resumes no run")
    for word in overrides:
        key = key_of(word)
        if key in PROBED and word != "model=linear":
            raise UserError(f"{word}: `ser probe` sets {key} itself; leave it out")


def on_one_device(config: "TrainConfig", typed: list[str]) -> "TrainConfig":
    """The config with the overrides as typed, on one device: a fitted head needs no more."""
    if config.trainer.devices not in ("auto", -1):
        return replace(config, command=typed)
    trainer = replace(config.trainer, devices=1)
    return replace(config, trainer=trainer, command=[*typed, "trainer.devices=1"])
