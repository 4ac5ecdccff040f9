"""Variables of launchers that did not start the process."""

import pytest

from ser.errors import UserError
from ser.training.launcher import check_launcher, check_rank

TORCHRUN = {
    "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1",
}  # fmt: skip
LIGHTNING = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
SRUN = {
    "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
}  # fmt: skip


def without(variables: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        TORCHRUN,
        LIGHTNING,
        SRUN,
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"},
        without(SRUN | {"SLURM_NTASKS": "1"}, "SLURM_STEP_ID", "SLURM_NTASKS_PER_NODE"),
    ],
)
def test_launchers_that_are_there_are_accepted(variables):
    check_launcher(variables)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"RANK": "1"}, "RANK"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK"),
        ({"SLURM_NTASKS": "4"}, "SLURM_NTASKS"),
        ({"SLURM_PROCID": "3"}, "SLURM_PROCID"),
        (without(SRUN, "SLURM_STEP_ID"), "SLURM_NTASKS"),
        (without(SRUN, "SLURM_NTASKS_PER_NODE"), "SLURM_NTASKS"),
    ],
)
def test_a_leftover_variable_is_named(variables, name):
    with pytest.raises(UserError, match=rf"^{name}="):
        check_launcher(variables)


def test_a_rank_that_the_trainer_does_not_have_is_refused():
    check_rank(0, 0)
    check_rank(1, 1)
    with pytest.raises(UserError, match="RANK"):
        check_rank(1, 0)
