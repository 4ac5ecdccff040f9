"""What one job of a command does: train, judge its best checkpoint, add up the jobs so far."""

import logging
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_only

from ser import aggregate
from ser.config import EvaluateConfig, EvaluateDataConfig, TrainConfig
from ser.evaluation import evaluate
from ser.training import train

log = logging.getLogger(__name__)
AGGREGATE = "aggregate"


def run(config: TrainConfig, sweep: Path | None = None) -> float:
    """Train, with `evaluate=true` judge on the test part, and return the validation score.

    Every job of a sweep writes `aggregate/` anew over the jobs that are done, so the last one
    leaves it whole, whatever the launcher, and a failed job costs no other. (A Hydra callback at
    the end of a multirun would have its errors swallowed: Hydra 1.3.)
    """
    result = train(config)
    first_process = cast(Any, rank_zero_only).rank == 0  # of all machines, whoever started them
    if not config.evaluate or result.checkpoint is None or not first_process:
        return result.score
    evaluate(
        EvaluateConfig(
            ckpt=str(result.checkpoint),
            accelerator=config.trainer.accelerator,
            data=EvaluateDataConfig(),
        )
    )
    if sweep is not None:
        add_up(sweep)
    return result.score


def add_up(sweep: Path) -> None:
    """Write the aggregate of the jobs that are done, unless they are of different tasks."""
    runs = aggregate.find_runs(sweep)
    if len({frozenset(run.labels) for run in runs}) > 1:
        log.warning("The jobs of %s have different classes: they are not added up", sweep)
        return
    whole = aggregate.add_up(runs)
    aggregate.write(whole, sweep / AGGREGATE)
    if len(whole.runs) > 1:
        aggregate.show(whole, sweep / AGGREGATE)
