"""Which process this is, as several launchers say it."""

import pytest

from parrot_core.errors import UsageError
from parrot_core.training.world import (
    World,
    any_of,
    first_host,
    joined_world,
    launcher_variables,
    number_of_processes,
)

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "node",
    "MASTER_PORT": "1234",
}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_JOB_ID": "123456",
}


def test_without_a_launcher_a_process_is_alone():
    assert launcher_variables({"PATH": "/bin"}) == {}
    assert number_of_processes({}) == 1
    with joined_world(deepspeed=False) as world:
        assert world == World(rank=0, local_rank=0, size=1)
        assert world.is_first
        assert any_of(world, mine=True)
        assert not any_of(world, mine=False)


def test_what_torchrun_says_is_taken_as_it_is():
    assert launcher_variables(TORCHRUN | {"PATH": "/bin"}) == TORCHRUN
    assert number_of_processes(TORCHRUN) == 4


def test_srun_says_it_in_its_own_words():
    assert launcher_variables(SRUN) == {
        "RANK": "9",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "16",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "23456",
    }
    assert launcher_variables(SRUN | {"MASTER_ADDR": "other"})["MASTER_ADDR"] == "other"


def test_a_batch_script_of_slurm_that_starts_no_step_is_no_launcher():
    assert launcher_variables({"SLURM_PROCID": "0", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"}) == {}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[03-05,09]", "gpu03"), ("a,b", "a"), ("rack2-n[1,4]", "rack2-n1"), ("alone", "alone")],
)
def test_the_first_host_of_a_node_list(nodes, first):
    assert first_host(nodes) == first


def test_half_of_what_a_launcher_says_is_refused():
    with pytest.raises(UsageError, match="not LOCAL_RANK, MASTER_ADDR, MASTER_PORT"):
        launcher_variables({"RANK": "0", "WORLD_SIZE": "2"})
