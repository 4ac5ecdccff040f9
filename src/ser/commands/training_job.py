"""One training job: train, evaluate on request, aggregate the jobs of a sweep so far."""

import logging
import shutil
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_only

from ser.commands import evaluate
from ser.config.evaluate import EvaluateConfig, EvaluateDataConfig
from ser.config.train import TrainConfig
from ser.preparation.manifest import Manifest
from ser.reports import aggregate, data_card, report
from ser.reports.terminal import show
from ser.system.libraries import silence_warnings
from ser.training.launcher import refuse_in_sweep
from ser.training.module import TrainingError
from ser.training.run_folder import TrainResult, write_result
from ser.training.train import train
from ser.training.trainer import build_trainer

log = logging.getLogger(__name__)
AGGREGATE = "aggregate"


def run(config: TrainConfig, sweep: Path | None = None) -> float:
    """Train, with `evaluate=true` evaluate on the test part, and return the validation score.

    Every job of a sweep rewrites `aggregate/` over the jobs that have ended, so that it is complete
    after the last one, whatever the launcher. A job that diverges or runs out of GPU memory does
    not stop the others: its score is NaN.
    """

    def show_card(manifest: Manifest) -> None:
        data_card.show(data_card.DataCard(manifest, config.data, config.split))

    silence_warnings()
    if sweep is not None:
        refuse_in_sweep(starts_processes=build_trainer(config).strategy.launcher is not None)
    try:
        result = train(config, on_prepared=show_card)
    except TrainingError as error:
        if sweep is None:
            raise
        log.error("error: %s", error)
        write_result(TrainResult(Path(config.output_dir), None, config.monitor, float("nan")))
        return float("nan")
    if cast(Any, rank_zero_only).rank == 0:  # of all machines, whatever started the processes
        finish(config, result, sweep)
    return result.score


def finish(config: TrainConfig, result: TrainResult, sweep: Path | None) -> None:
    """Print the result, evaluate on request and write the aggregate of a sweep."""
    if config.trainer.fast_dev_run:
        show("The dry run found no error. No checkpoint was saved.")
        return
    if not config.evaluate or result.checkpoint is None:
        if sweep is None:  # else the end of the sweep says what to evaluate
            report.show_run(result.output_dir, result.checkpoint, result.monitor, result.score)
        return
    # A resumed run may read its data from other places than the run that saved best.ckpt.
    data = EvaluateDataConfig(
        paths=config.data.paths,
        votes=config.data.votes,
        demographics=config.data.demographics,
        synthetic=config.data.synthetic,
        cache_dir=config.data.cache_dir,
    )
    accelerator = config.trainer.accelerator
    evaluate.run(EvaluateConfig(str(result.checkpoint), accelerator=accelerator, data=data))
    if sweep is not None:
        write_aggregate(sweep)


def write_aggregate(sweep: Path) -> aggregate.Aggregate | None:
    """Write the aggregate of the jobs that have ended.

    None if they have different classes, or differ in more than their seeds and splits.
    """
    runs = aggregate.find_runs(sweep)
    if len({frozenset(run.labels) for run in runs}) > 1:
        log.warning("The jobs in %s have different classes, so they are not aggregated", sweep)
        return None
    if not aggregate.repeats(runs):
        shutil.rmtree(sweep / AGGREGATE, ignore_errors=True)  # of the first job alone
        return None
    whole = aggregate.add_up(runs)
    aggregate.write(whole, sweep / AGGREGATE)
    return whole


def show_aggregate(sweep: Path) -> None:
    """Print the aggregate over all jobs of a sweep."""
    whole = write_aggregate(sweep)
    if whole is not None and len(whole.runs) > 1:
        aggregate.show(whole, sweep / AGGREGATE)
