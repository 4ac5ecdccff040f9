"""Prediction on several machines: a Ray Data job that writes one result file per shard.

A shard is a number of consecutive recordings. Its file appears complete or not at all, so a job
that was stopped continues with the missing shards. All machines must see the same files.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ser.config.precision import Precision
from ser.errors import UserError
from ser.inference.load import find_weights
from ser.inference.ray_cluster import connected, share_out
from ser.inference.settings import Format, PredictorConfig
from ser.inference.writers import open_writer, write_all
from ser.system.atomic import write_text
from ser.system.files import identify, read_object
from ser.system.progress import progress_bar

RECORD = "job.json"
TRIES = 3  # for a shard whose workers die; Ray Data itself would retry for ever
MAY_CHANGE = ("device", "batch_size")  # settings, when a job is resumed


@dataclass(frozen=True)
class Plan:
    """A job over shards of paths, and its output folder. Paths are relative to `folder`."""

    config: PredictorConfig
    shards: list[list[str]]
    output: Path
    folder: Path
    top_k: int | None = None

    def place(self, shard: int) -> Path:
        return self.output / f"part-{shard:05}.parquet"

    def tries(self, shard: int) -> Path:
        """The file in which workers count how often they have started a shard."""
        return self.output / f".part-{shard:05}.tries"

    def missing(self) -> list[int]:
        return [shard for shard in range(len(self.shards)) if not self.place(shard).is_file()]

    def describe(self) -> dict[str, Any]:
        """What two runs must have in common to write into the same folder."""
        paths = "\n".join("\n".join(shard) for shard in self.shards)
        settings = {k: v for k, v in asdict(self.config).items() if k not in MAY_CHANGE}
        settings["speeds"] = list(self.config.speeds)  # as in JSON
        return {
            "recordings": sum(map(len, self.shards)),
            "shard_size": len(self.shards[0]),
            "paths": hashlib.sha256(paths.encode("utf-8", "surrogateescape")).hexdigest(),
            "folder": str(self.folder),
            "top_k": self.top_k,
            "model": describe_files(Path(self.config.ckpt)),
            **settings,
        }


def describe_files(ckpt: Path) -> str:
    """Size and modification time of the weights of a local model; empty for one on the hub."""
    states = [identify(file) for file in find_weights(ckpt)]
    return " ".join(f"{size} bytes of {changed}" for size, changed in states)


def plan(
    config: PredictorConfig,
    paths: Sequence[str],
    output: Path,
    *,
    shard_size: int,
    top_k: int | None,
) -> Plan:
    """Divide the work into shards, and record the job in the output folder.

    Raises UserError if the folder holds the results of another job, or other files.
    """
    if not paths:
        raise UserError("no recording found")
    shards = [list(paths[i : i + shard_size]) for i in range(0, len(paths), shard_size)]
    planned = Plan(config, shards, output.absolute(), Path.cwd(), top_k)
    record = output / RECORD
    if not record.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UserError(f"--output={output} exists and holds no such job: choose a new folder")
        output.mkdir(parents=True, exist_ok=True)
        write_text(record, json.dumps(planned.describe(), indent=2) + "\n")
        return planned
    then = read_object(record)
    with suppress(ValueError):  # earlier versions had other names for it
        then["precision"] = str(Precision(then.get("precision")))
    for key, now in planned.describe().items():
        if then.get(key, [1.0] if key == "speeds" else None) != now:
            raise UserError(
                f"--output={output} holds results of another job ({key} was {then.get(key)}, and is"
                f" {now}): choose another folder"
            )
    return planned


class Worker:
    """A Ray actor that keeps a model in memory and predicts one shard after the other."""

    def __init__(self, planned: Plan) -> None:
        os.chdir(planned.folder)  # paths are relative to it
        self.plan, self.predictor = planned, planned.config.load()

    def __call__(self, row: dict[str, Any]) -> dict[str, int]:
        """Write the results of a shard; raises RuntimeError if workers have died of it."""
        shard = int(row["shard"])
        paths = self.plan.shards[shard]
        count_try(self.plan, shard)
        results = self.plan.config.predict(self.predictor, paths)
        place, labels = self.plan.place(shard), self.predictor.labels
        with open_writer(Format.parquet, place, labels, self.plan.top_k) as writer:
            write_all(results, writer, len(paths), bar=False)
        self.plan.tries(shard).unlink(missing_ok=True)
        return {"recordings": len(paths)}


def count_try(planned: Plan, shard: int) -> None:
    tries = planned.tries(shard)
    started = int(tries.read_text(encoding="utf-8")) if tries.is_file() else 0
    if started == TRIES:
        raise RuntimeError(
            f"{TRIES} workers died while processing {planned.place(shard).name} (too little memory,"
            f" or a recording that crashes the decoder, from {planned.shards[shard][0]} on)"
        )
    write_text(tries, str(started + 1))


def run(planned: Plan, *, workers: int | None, address: str | None) -> int:
    """Predict the missing shards, and return how many of all recordings failed.

    `workers` defaults to one per GPU, or one per machine without GPUs. `address` is that of a
    cluster; None: RAY_ADDRESS in the environment, else a new Ray on this machine. Raises UserError
    if Ray stops; finished shards are kept.
    """
    from ray.exceptions import RayError

    planned.config.load()  # one message here if that fails; a worker would show a traceback
    missing = planned.missing()
    for shard in missing:
        planned.tries(shard).unlink(missing_ok=True)
    with progress_bar() as progress:
        total = sum(map(len, planned.shards))
        left = sum(len(planned.shards[shard]) for shard in missing)
        task = progress.add_task("Predicting", total=total, completed=total - left)
        if missing:
            try:
                with connected(address):
                    for row in predict_shards(planned, missing, workers):
                        progress.advance(task, row["recordings"])
            except RayError as error:
                reason = str(error).strip().splitlines()[-1]
                raise UserError(
                    f"Ray stopped: {reason}; finished shards stay in {planned.output}, and the same"
                    " command continues with the others"
                ) from error
    return sum(count_failed(planned.place(shard)) for shard in range(len(planned.shards)))


def predict_shards(
    planned: Plan, shards: list[int], workers: int | None
) -> Iterator[dict[str, int]]:
    """The number of recordings of each shard, as it is finished."""
    import ray
    from ray.data import ActorPoolStrategy

    share = share_out(planned.config.device, workers)
    rows = [{"shard": shard} for shard in shards]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    finished = dataset.map(
        Worker,  # pyright: ignore[reportArgumentType]  (a class of callables is allowed)
        fn_constructor_args=(planned,),
        num_cpus=share.cores,
        num_gpus=share.gpus,
        compute=ActorPoolStrategy(size=min(share.workers, len(rows))),
    )
    for row in finished.iter_rows():
        yield {name: int(value) for name, value in row.items()}


def count_failed(shard: Path) -> int:
    from pyarrow import parquet

    errors = parquet.read_table(shard, columns=["error"])["error"]
    return len(errors) - errors.null_count
