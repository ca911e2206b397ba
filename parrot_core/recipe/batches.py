"""How a global batch, which a recipe pins, falls to the devices that are found."""

from dataclasses import dataclass

from parrot_core.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchShare:
    """What each process does for one optimiser step.

    Attributes:
        device_batch_size: Samples at once on a device.
        accumulation: Passes whose gradients are summed.
    """

    device_batch_size: int
    accumulation: int


def share_batch(global_batch_size: int, *, processes: int, at_most: int) -> BatchShare:
    """Divides a global batch among processes, evenly, in as few passes as the limit allows.

    Args:
        global_batch_size: Samples per optimiser step, over all processes.
        processes: All of them, on all nodes.
        at_most: Samples that a device takes at once.

    Raises:
        UsageError: if the processes do not divide the batch; names the nearest sizes that they do.
    """
    problem = batch_problem(global_batch_size, processes)
    if problem:
        raise UsageError(
            problem, hint="Change global_batch_size, or start another number of processes."
        )
    share = global_batch_size // processes
    passes = next(count for count in range(-(-share // at_most), share + 1) if share % count == 0)
    return BatchShare(device_batch_size=share // passes, accumulation=passes)


def batch_problem(global_batch_size: int, processes: int) -> str | None:
    """Says why a global batch cannot be shared out evenly, and what could; None if it can."""
    lower, rest = divmod(global_batch_size, processes)
    if not rest and lower:
        return None
    sizes = [count * processes for count in (lower, lower + 1) if count]
    counts = [count for count in range(1, global_batch_size + 1) if global_batch_size % count == 0]
    near = sorted(counts, key=lambda count: abs(count - processes))[:2]
    return (
        f"a global batch of {global_batch_size} does not divide among {processes} processes; "
        f"the nearest sizes that do are {' and '.join(map(str, sizes))}, "
        f"the nearest numbers of processes {' and '.join(map(str, sorted(near)))}"
    )
