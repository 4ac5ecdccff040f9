"""The jobs of a sweep by their validation scores, and the command that evaluates the best one."""

import math
import shlex
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from ser.config.callbacks import mode_of, name_metric
from ser.config.plain import key_of
from ser.config.train import RESULT
from ser.errors import UserError
from ser.reports.tables import Table
from ser.reports.terminal import show as print_all
from ser.reports.terminal import show_command
from ser.system.files import read_object, shorten

# Settings that do not change a result.
OUTSIDE = ("output_dir", "ckpt", "data.cache_dir", "evaluate")
OVERRIDES = Path(".hydra") / "overrides.yaml"  # in the folder of a run
# Settings of the data that leave the validation part as it is.
SAME_DATA = tuple(
    f"data.{name}"
    for name in ("batch_size", "max_batch_seconds", "sampling", "padding", "num_workers")
)


@dataclass(frozen=True)
class JobResult:
    """One job: its folder, its overrides, and its validation score (NaN without one)."""

    folder: Path
    overrides: tuple[str, ...]
    monitor: str
    score: float


@dataclass(frozen=True)
class Sweep:
    """The finished jobs of a sweep, and the number of jobs that have not finished."""

    folder: Path
    jobs: Sequence[JobResult]
    unfinished: int = 0

    @cached_property
    def varied(self) -> list[str]:
        """The keys whose values differ between jobs."""
        common = set.intersection(*(set(job.overrides) for job in self.jobs))
        keys = (key_of(each) for job in self.jobs for each in job.overrides if each not in common)
        return [key for key in dict.fromkeys(keys) if key not in OUTSIDE]

    @cached_property
    def groups(self) -> dict[str, list[JobResult]]:
        """The jobs by the settings that differ; jobs that differ in the seed alone together."""
        groups = defaultdict(list)
        for job in self.jobs:
            own = [w for w in job.overrides if key_of(w) in self.varied and key_of(w) != "seed"]
            groups[" ".join(own) or "all"].append(job)
        return dict(groups)

    @property
    def monitor(self) -> str:
        return self.jobs[0].monitor

    @property
    def comparable(self) -> bool:
        """Whether all scores are of one metric, on one validation part and one set of classes."""
        other_data = [
            key
            for key in self.varied
            if key.partition(".")[0] in ("split", "data", "experiment") and key not in SAME_DATA
        ]
        return not other_data and len({job.monitor for job in self.jobs}) == 1

    @property
    def best(self) -> str | None:
        """The settings with the best mean score; None if no scores can be compared."""
        scored = {name: mean(jobs) for name, jobs in self.groups.items()}
        scored = {name: value for name, value in scored.items() if not math.isnan(value)}
        if not scored or not self.comparable:
            return None
        choose = min if mode_of(self.monitor) == "min" else max
        return choose(scored, key=lambda name: scored[name])

    @property
    def chosen(self) -> JobResult | None:
        """The job to evaluate: of the best settings, the seed with the best score."""
        if self.best is None:
            return None
        choose = min if mode_of(self.monitor) == "min" else max
        return choose(self.groups[self.best], key=lambda job: job.score)

    def tabulate(self) -> Table:
        """Settings, job numbers, and mean and standard deviation of the score over the seeds."""
        rows = [
            [
                name,
                ", ".join(job.folder.name for job in jobs),
                self.describe(jobs) + (" *" if name == self.best else ""),
            ]
            for name, jobs in self.groups.items()
        ]
        strong = () if self.best is None else (self.best,)
        columns = ["settings", "jobs", name_metric(self.monitor)]
        return Table(columns, rows, alignment="llr", strong=strong)

    def describe(self, jobs: Sequence[JobResult]) -> str:
        """The mean score of jobs, with the standard deviation of several."""
        scores = [job.score for job in jobs]
        if any(map(math.isnan, scores)):
            return "failed"
        spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
        return f"{statistics.fmean(scores):.3f}{spread}"


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds the folders of runs and is not itself that of a run."""
    return not (folder / OVERRIDES).exists() and any(folder.glob(f"*/{OVERRIDES}"))


def read_sweep(folder: Path) -> Sweep:
    """The jobs of a sweep, in the order of their numbers. Raises UserError if none has finished."""
    started = [file.parent.parent for file in folder.glob(f"*/{OVERRIDES}")]
    jobs = [read_job(each) for each in started if (each / RESULT).is_file()]
    if not jobs:
        raise UserError(f"no job in {shorten(folder)} has finished: train at least one to its end")
    jobs.sort(key=lambda job: (len(job.folder.name), job.folder.name))
    return Sweep(folder, jobs, len(started) - len(jobs))


def read_job(folder: Path) -> JobResult:
    content = read_object(folder / RESULT)
    overrides = yaml.safe_load((folder / OVERRIDES).read_text(encoding="utf-8"))
    score = math.nan if content["score"] is None else content["score"]
    return JobResult(folder, tuple(overrides), content["monitor"], score)


def mean(jobs: Sequence[JobResult]) -> float:
    return statistics.fmean(job.score for job in jobs)


def show(sweep: Sweep) -> None:
    """Print the table of a sweep, and the report of the chosen job or the command for it."""
    print_all(f"Sweep {shorten(sweep.folder)}", sweep.tabulate())
    if sweep.unfinished:
        print_all(f"Jobs that have not finished: {sweep.unfinished}.")
    if sweep.chosen is not None:
        several = any(len(jobs) > 1 for jobs in sweep.groups.values())
        seeds = "Scores are means ± standard deviations over seeds. " if several else ""
        best = f"job {sweep.chosen.folder.name}{', its best seed,' if several else ''}"
        report = sweep.chosen.folder / "report" / "report.html"
        if report.is_file():
            print_all(
                f"{seeds}* best on the validation part. Use the test score of {best} only, because"
                f" the best of several test scores is too optimistic: {shorten(report)}"
            )
            return
        print_all(
            f"{seeds}* best on the validation part. Evaluate only {best} on the test part, because"
            " the best of several test scores is too optimistic:"
        )
        show_command(shlex.join(["ser", "evaluate", f"ckpt={shorten(sweep.chosen.folder)}"]))
    elif not sweep.comparable:
        print_all("The jobs have different data or splits, so their scores are not comparable.")
