"""The processes of a run: which one this is, and how they talk to each other."""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from parrot_core.errors import UsageError

logger = logging.getLogger(__name__)

_SLURM_PORTS = (20_000, 30_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Where a process stands among the processes of a run.

    Attributes:
        rank: Of this process, from 0.
        local_rank: Of this process on its node.
        size: How many there are, on all nodes.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes what is written once."""
        return self.rank == 0


def launcher_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What a launcher says about the processes of a run, in torchrun's words; {} without one.

    torchrun and DeepSpeed's launcher set these variables themselves; SLURM's `srun` says the same
    in its own.

    Raises:
        UsageError: if a launcher said only half of it.
    """
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if "RANK" in environment and "WORLD_SIZE" in environment:
        missing = [name for name in names if name not in environment]
        if missing:
            raise UsageError(
                f"RANK and WORLD_SIZE are set, but not {', '.join(missing)}",
                hint="Use torchrun, or unset them to let --processes start the workers.",
            )
        return {name: environment[name] for name in names}
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        low, high = _SLURM_PORTS
        port = low + int(environment["SLURM_JOB_ID"]) % (high - low)
        return {
            "RANK": environment["SLURM_PROCID"],
            "LOCAL_RANK": environment["SLURM_LOCALID"],
            "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
            "MASTER_ADDR": environment.get("MASTER_ADDR")
            or first_host(environment["SLURM_STEP_NODELIST"]),
            "MASTER_PORT": environment.get("MASTER_PORT", str(port)),
        }
    return {}


def first_host(nodes: str) -> str:
    """The first host of a SLURM node list: `gpu[03-05,09],login` gives `gpu03`."""
    match = re.match(r"([^\[,]+)(?:\[([^\]]+)\])?([^,\[]*)", nodes)
    if match is None:
        raise UsageError(f"SLURM_STEP_NODELIST is {nodes!r}", hint="Set MASTER_ADDR yourself.")
    stem, numbers, tail = match.groups()
    number = re.split("[-,]", numbers)[0] if numbers else ""
    return f"{stem}{number}{tail}"


def number_of_processes(environment: Mapping[str, str]) -> int:
    """How many processes a launcher started; 1 without one."""
    return int(launcher_variables(environment).get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def joined_world(*, deepspeed: bool, timeout_minutes: float = 30.0) -> Iterator[World]:
    """Joins the processes that a launcher started; without one this process is alone.

    Args:
        deepspeed: Whether DeepSpeed is to use the connection.
        timeout_minutes: How long one waits for another before the run is given up.

    Raises:
        UsageError: if there are fewer GPUs here than processes.
    """
    timeout = timedelta(minutes=timeout_minutes)
    variables = launcher_variables(os.environ)
    if not variables and not deepspeed:
        yield World()
        return
    os.environ.update(variables or _alone())
    variables = launcher_variables(os.environ)
    world = World(
        rank=int(variables["RANK"]),
        local_rank=int(variables["LOCAL_RANK"]),
        size=int(variables["WORLD_SIZE"]),
    )
    if world.size > 1 or deepspeed:
        _connect(world, deepspeed=deepspeed, timeout=timeout)
    yield world
    if dist.is_initialized():
        dist.barrier()  # whoever leaves first would cut the others' last words off
        dist.destroy_process_group()


def _alone() -> dict[str, str]:
    """What a launcher would say to the only process of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _connect(world: World, *, deepspeed: bool, timeout: timedelta) -> None:
    """Opens the connection of this process to the others: NCCL between GPUs, else gloo."""
    cuda = torch.cuda.is_available()
    if cuda:
        if world.local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"process {world.local_rank} of this node has no GPU: there are "
                f"{torch.cuda.device_count()}",
                hint=f"Start {torch.cuda.device_count()} processes on this node.",
            )
        torch.cuda.set_device(world.local_rank)
    # Signals and samples are agreed upon by way of the CPU, which makes no GPU wait.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, timeout=timeout)
    if not deepspeed:
        return
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    import deepspeed as library

    # Its shared-memory transport would be compiled at the first start; torch's gloo will do.
    library.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    library.init_distributed(
        dist_backend="nccl" if cuda else "gloo", auto_mpi_discovery=False, timeout=timeout
    )


def sum_over(world: World, values: Tensor) -> Tensor:
    """Sums a CPU tensor over all processes; every process gets the sum."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def any_of(world: World, mine: bool) -> bool:  # noqa: FBT001 - one value, of one meaning
    """Whether something is true on any process."""
    return bool(sum_over(world, torch.tensor(int(mine))))


def wait_for_all(world: World) -> None:
    """Returns when all processes have come here."""
    if world.size > 1:
        dist.barrier()
