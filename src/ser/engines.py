"""Who judges the recordings of `ser predict`: this process, or the workers of a Ray cluster."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ser import sources, writers
from ser.errors import extra
from ser.job import Job
from ser.writers import Format


@dataclass(frozen=True)
class Wanted:
    """Which recordings, as typed, and in which form their results are to be written where."""

    paths: list[str]
    format: Format | None = None
    output: Path | None = None
    top_k: int | None = None


def judge_here(job: Job, wanted: Wanted) -> int:
    """Judge recordings in this process, and return how many failed."""
    kind = writers.choose_format(wanted.format, wanted.output)
    found = sources.find_all(wanted.paths)
    known = None if "-" in wanted.paths else list(found)  # what comes in a pipe has no end yet
    if job.window is not None and kind == Format.csv:
        print("CSV holds no timeline; json, jsonl and parquet do", file=sys.stderr)
    predictor = job.load()
    if predictor.synthetic:
        print("This model learned from synthetic tones: it knows no speech", file=sys.stderr)
    results = job.judge(predictor, found if known is None else known)
    # The results themselves show how far it is.
    seen = sys.stdout.isatty() and wanted.output is None
    total = None if known is None else len(known)
    with writers.open_writer(kind, wanted.output, predictor.labels, wanted.top_k) as writer:
        return writers.write_all(results, writer, total, bar=not seen)


def judge_on_cluster(
    job: Job, wanted: Wanted, shard_size: int, workers: int | None, address: str | None
) -> int:
    """Have recordings judged by workers of Ray, and return how many failed.

    Raises ValueError for what only this process can do.
    """
    if wanted.output is None or wanted.format not in (None, Format.parquet):
        raise ValueError("--engine=ray writes Parquet files into a folder: --output=FOLDER")
    if "-" in wanted.paths:
        raise ValueError("--engine=ray takes no standard input: name files, folders or a table.")
    with extra("ray"):
        import ray  # noqa: F401

        from ser import cluster
    paths = [str(source) for source in sources.find_all(wanted.paths)]
    planned = cluster.plan(job, paths, wanted.output, shard_size=shard_size, top_k=wanted.top_k)
    failed = cluster.run(planned, workers=workers, address=address)
    print(f"Written: {len(planned.shards):,} Parquet files in {wanted.output}")
    if failed:
        print(f"{failed:,} of {len(paths):,} recordings failed: see the column error.")
    return failed
