"""`ser evaluate` and `python evaluate.py`."""

import logging
import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ser.commands.errors import reporting_stop
from ser.commands.hydra_job import launch, typed_overrides
from ser.config.evaluate import EvaluateConfig
from ser.config.plain import convert
from ser.system.libraries import silence_fonts

if TYPE_CHECKING:
    from ser.metrics.scores import Scores

log = logging.getLogger(__name__)


def main(words: list[str] | None = None) -> None:
    """Evaluate with the options and overrides given, by default those of the command line."""
    launch("evaluate", EvaluateConfig, sys.argv[1:] if words is None else words, job)


def job(composed: DictConfig) -> float:
    return run(convert(composed, EvaluateConfig, command=typed_overrides())).uar


def run(config: EvaluateConfig) -> "Scores":
    """Evaluate, write the report, print the scores and return them."""
    with reporting_stop(lambda: "No report was written; an earlier one is as before."):
        return evaluate_and_report(config)


def evaluate_and_report(config: EvaluateConfig) -> "Scores":
    silence_fonts()
    # Heavy, so only after the config has been checked.
    from ser.evaluation.evaluate import evaluate, report_folder
    from ser.reports import report
    from ser.training import logs

    result = evaluate(config)
    folder = report_folder(config, result)
    log.info("Writing the report")
    report.write(result, folder, restricted_audio=config.restricted_audio)
    report.show_scores(result, folder)
    if folder.name == "report" and config.output_dir is None:
        logs.log_test(folder.parent, result.overall.scores)
    return result.overall.scores
