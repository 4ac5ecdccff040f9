"""What one job of a command does: train, judge its best checkpoint, add up the jobs so far."""

from pathlib import Path
from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_only

from ser import aggregate
from ser.config import EvaluateConfig, EvaluateDataConfig, TrainConfig
from ser.evaluation import evaluate
from ser.training import train

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
        whole = aggregate.add_up(aggregate.find_runs(sweep))
        aggregate.write(whole, sweep / AGGREGATE)
        if len(whole.runs) > 1:
            aggregate.show(whole, sweep / AGGREGATE)
    return result.score
