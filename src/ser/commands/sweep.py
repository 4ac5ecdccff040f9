"""The start and the end of a sweep: check all jobs, and print their table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ser.commands.errors import one_line_errors
from ser.config.plain import convert
from ser.config.train import TrainConfig
from ser.reports import sweeps


class SweepFolder(Callback):
    """Checks the jobs of a sweep before the first one starts, and remembers its folder.

    The end of the sweep is not handled here, because Hydra 1.3 turns the errors of callbacks into
    warnings.
    """

    path: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with one_line_errors():
            for overrides in vary_one(list_choices(config)):
                convert(compose("train", overrides=overrides), TrainConfig)
        SweepFolder.path = Path(config.hydra.sweep.dir)


def list_choices(config: DictConfig) -> dict[str, list[str]]:
    """The overrides that a sweep tries, by key; one each for keys that do not vary."""
    params = config.hydra.sweeper.get("params") or {}
    words = [f"{key}={value}" for key, value in params.items()]
    choices = {}
    for each in OverridesParser.create().parse_overrides([*words, *config.hydra.overrides.task]):
        key = each.get_key_element()
        varied = each.is_sweep_override() and each.is_discrete_sweep()
        values = each.sweep_string_iterator() if varied else []
        choices[key] = [f"{key}={value}" for value in values] or [str(each.input_line)]
    return choices


def vary_one(choices: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Jobs in which every choice occurs, each beside the first choices of the other keys."""
    first = {key: values[0] for key, values in choices.items()}
    yield list(first.values())
    for key, values in choices.items():
        for value in values[1:]:
            yield list((first | {key: value}).values())


def conclude(folder: Path) -> int:
    """Print the table of a sweep and the next step; return the exit code, 1 if a job failed."""
    sweep = sweeps.read_sweep(folder)
    if (folder / "aggregate").is_dir():
        from ser.commands.training_job import show_aggregate

        show_aggregate(folder)
    elif len(sweep.jobs) > 1:
        sweeps.show(sweep)
    failed = any(math.isnan(job.score) for job in sweep.jobs)
    return 1 if failed or sweep.unfinished else 0
