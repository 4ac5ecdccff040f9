"""Launchers of several processes (torchrun, srun, jsrun): whether one really started this process.

Lightning believes the variables that they set, also if they were inherited from another shell or
job. It would then wait for processes that do not exist, or take this process for one whose output
is not needed.
"""

from collections.abc import Mapping

from ser.errors import UserError

# If the first variable is set, its launcher sets the others too.
COMPLETE = {
    "RANK": ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "LOCAL_RANK": ("WORLD_SIZE", "MASTER_PORT"),
    "SLURM_NTASKS": ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    "SLURM_PROCID": ("SLURM_JOB_ID", "SLURM_NTASKS"),
    "JSM_NAMESPACE_RANK": ("JSM_NAMESPACE_SIZE", "LSB_JOBID"),
}
INTERACTIVE = ("bash", "interactive")  # Slurm jobs in which Lightning ignores Slurm


def check_launcher(environ: Mapping[str, str]) -> None:
    """Raise UserError if variables of a launcher are set but it did not start this process."""
    slurm = environ.get("SLURM_JOB_NAME") not in INTERACTIVE
    for name, others in COMPLETE.items():
        missing = [other for other in others if other not in environ]
        if name not in environ or not missing or (name.startswith("SLURM") and not slurm):
            continue
        raise UserError(
            f"{name}={environ[name]} is set in the environment, but {missing[0]} is not, so no"
            f" launcher started this process; run `unset {name}` first"
        )
    tasks = int(environ.get("SLURM_NTASKS", "1"))
    if slurm and tasks > 1 and "SLURM_NTASKS_PER_NODE" not in environ:
        raise UserError(
            f"SLURM_NTASKS={tasks}: request --ntasks-per-node instead of --ntasks, which does not"
            " say how many processes share a machine"
        )
    if slurm and tasks > 1 and not {"SLURM_STEP_ID", "SLURM_STEPID"} & set(environ):
        raise UserError(
            f"SLURM_NTASKS={tasks}, but this process was not started by srun: put `srun` before"
            " the command, or run `unset SLURM_NTASKS` to train in this process alone"
        )


def check_rank(rank: int, global_rank: int) -> None:
    """Raise UserError if the rank in the environment is not that of the trainer.

    `rank` is that of `lightning.pytorch.utilities.rank_zero_only`, read from the environment when
    Lightning is imported; a process with rank > 0 writes no files.
    """
    if rank != global_rank:
        raise UserError(
            f"the environment says that this process has rank {rank} (RANK, LOCAL_RANK or"
            f" SLURM_PROCID), but with these settings it has rank {global_rank}: unset the"
            " variables, or set trainer.devices and trainer.num_nodes to what the launcher started"
        )


def refuse_in_sweep(*, starts_processes: bool) -> None:
    """Raise UserError for a job of a sweep that would start processes for several devices.

    Lightning 2.6 starts them as sweeps of their own, in folders of their own.
    """
    if starts_processes:
        raise UserError(
            "a job of a sweep trains on one device: add trainer.devices=1, or submit the jobs to"
            " Slurm with hydra/launcher=submitit_slurm"
        )
