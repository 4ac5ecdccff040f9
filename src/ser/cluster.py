"""Recordings judged on many machines: a Ray Data job that leaves a file of results for each shard.

A shard is so many recordings in the order given. Its file is there whole or not at all, so a job
that was stopped goes on with the shards that are missing. All machines must see the same files.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ser.atomic import write_text
from ser.audio import identify
from ser.files import read_object
from ser.job import Job
from ser.progress import progress_bar
from ser.writers import Format, open_writer, write_all

RECORD = "job.json"
TRIES = 3  # of a shard whose worker dies of it; Ray Data by itself would try for ever
SAME_RESULTS = ("device", "batch_size")  # settings of a job that may change when it goes on


@dataclass(frozen=True)
class Plan:
    """A job over shards of paths, and the folder of its results; `folder` is where paths begin."""

    job: Job
    shards: list[list[str]]
    output: Path
    folder: Path
    top_k: int | None = None

    def place(self, shard: int) -> Path:
        return self.output / f"part-{shard:05}.parquet"

    def tries(self, shard: int) -> Path:
        """Where workers count how often they have begun a shard."""
        return self.output / f".part-{shard:05}.tries"

    def missing(self) -> list[int]:
        return [shard for shard in range(len(self.shards)) if not self.place(shard).is_file()]

    def describe(self) -> dict[str, Any]:
        """What two runs must have in common to write into one folder."""
        paths = "\n".join("\n".join(shard) for shard in self.shards)
        settings = {k: v for k, v in asdict(self.job).items() if k not in SAME_RESULTS}
        return {
            "recordings": sum(map(len, self.shards)),
            "shard_size": len(self.shards[0]),
            "paths": hashlib.sha256(paths.encode("utf-8", "surrogateescape")).hexdigest(),
            "folder": str(self.folder),
            "top_k": self.top_k,
            "model": describe_files(Path(self.job.ckpt)),
            **settings,
        }


def describe_files(ckpt: Path) -> str:
    """Size and time of change of the weights of a local model; empty for one on the hub."""
    files = [ckpt, *sorted(ckpt.glob("checkpoints/best.ckpt")), *sorted(ckpt.glob("*.safetensors"))]
    states = [identify(file) for file in files if file.is_file()]
    return " ".join(f"{size} bytes of {changed}" for size, changed in states)


def plan(
    job: Job, paths: Sequence[str], output: Path, *, shard_size: int, top_k: int | None
) -> Plan:
    """Cut the work into shards, and write down in the output folder what it is.

    Raises ValueError where the folder holds the results of another job, or something else.
    """
    if not paths:
        raise ValueError("there is no recording to judge")
    shards = [list(paths[i : i + shard_size]) for i in range(0, len(paths), shard_size)]
    planned = Plan(job, shards, output.absolute(), Path.cwd(), top_k)
    record = output / RECORD
    if not record.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ValueError(f"--output={output} is no folder of such a job: name a new one")
        output.mkdir(parents=True, exist_ok=True)
        write_text(record, json.dumps(planned.describe(), indent=2) + "\n")
        return planned
    then = read_object(record)
    for key, now in planned.describe().items():
        if then.get(key) != now:
            raise ValueError(
                f"--output={output} holds results of another job ({key} was {then.get(key)}, and is"
                f" {now}): name another folder"
            )
    return planned


class Worker:
    """An actor of Ray with a model in memory, which judges one shard after the other."""

    def __init__(self, planned: Plan) -> None:
        os.chdir(planned.folder)  # paths are named from there
        self.plan, self.predictor = planned, planned.job.load()

    def __call__(self, row: dict[str, Any]) -> dict[str, int]:
        """Write the results of a shard; raises RuntimeError where workers have died of it."""
        shard = int(row["shard"])
        paths = self.plan.shards[shard]
        count_try(self.plan, shard)
        results = self.plan.job.judge(self.predictor, paths)
        place, labels = self.plan.place(shard), self.predictor.labels
        with open_writer(Format.parquet, place, labels, self.plan.top_k) as writer:
            write_all(results, writer, len(paths), bar=False)
        self.plan.tries(shard).unlink(missing_ok=True)
        return {"recordings": len(paths)}


def count_try(planned: Plan, shard: int) -> None:
    tries = planned.tries(shard)
    begun = int(tries.read_text()) if tries.is_file() else 0
    if begun == TRIES:
        raise RuntimeError(
            f"{TRIES} workers died of {planned.place(shard).name} (too little memory, or a"
            f" recording that libsndfile cannot bear, from {planned.shards[shard][0]} on)"
        )
    write_text(tries, str(begun + 1))


def run(planned: Plan, *, workers: int | None, address: str | None) -> int:
    """Judge the missing shards, and return how many of all recordings could not be judged.

    `workers` is one a GPU, or one a machine without, where None; `address` is that of a cluster
    (RAY_ADDRESS in the environment where None, else a new one on this machine). Raises OSError,
    with what is done already kept, where Ray cannot go on.
    """
    from ray.exceptions import RayError

    planned.job.load()  # a model that cannot be loaded is a sentence here, and a traceback there
    missing = planned.missing()
    for shard in missing:
        planned.tries(shard).unlink(missing_ok=True)
    with progress_bar() as progress:
        total = sum(map(len, planned.shards))
        left = sum(len(planned.shards[shard]) for shard in missing)
        task = progress.add_task("Listening", total=total, completed=total - left)
        if missing:
            try:
                with connected(address):
                    for row in judge_shards(planned, missing, workers):
                        progress.advance(task, row["recordings"])
            except RayError as error:
                reason = str(error).strip().splitlines()[-1]
                raise OSError(
                    f"Ray stopped: {reason}; what is done stays in {planned.output}, and the same"
                    " command goes on with the rest"
                ) from error
    return sum(count_failed(planned.place(shard)) for shard in range(len(planned.shards)))


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to Ray, which is quiet, and sends nothing home unless told to."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.data import DataContext

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()


def judge_shards(planned: Plan, shards: list[int], workers: int | None) -> Iterator[dict[str, int]]:
    """What became of each shard, as they come."""
    import ray
    from ray.data import ActorPoolStrategy

    share = share_out(planned.job.device, workers)
    rows = [{"shard": shard} for shard in shards]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    judged = dataset.map(
        Worker,  # pyright: ignore[reportArgumentType]  (a class of callables will do)
        fn_constructor_args=(planned,),
        num_cpus=share.cores,
        num_gpus=share.gpus,
        compute=ActorPoolStrategy(size=min(share.workers, len(rows))),
    )
    for row in judged.iter_rows():
        yield {name: int(value) for name, value in row.items()}


@dataclass(frozen=True)
class Share:
    """How many workers, and what each has of the cluster: GPUs, or else processor cores."""

    workers: int
    gpus: float | None = None
    cores: float | None = None


def share_out(device: str, workers: int | None) -> Share:
    """The share of each worker; they are one a GPU, or one a machine, where no number is given."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(node.get("GPU", 0) for node in nodes) if device != "cpu" else 0
    if gpus:
        count = workers or int(gpus)
        return Share(count, gpus=min(1.0, gpus / count))
    cores = [node["CPU"] for node in nodes if node.get("CPU")]
    count = workers or len(cores)
    return Share(count, cores=max(1, min(min(cores), sum(cores) // count)))


def count_failed(shard: Path) -> int:
    from pyarrow import parquet

    errors = parquet.read_table(shard, columns=["error"])["error"]
    return len(errors) - errors.null_count
