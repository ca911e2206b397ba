"""What holds after `kill -9` of a training run's whole process tree, at random and while it saves.

Run with `python tests/benchmarks/kills.py [--processes N] [--zero 2|3] [--kills N] [--steps N]`.
One run goes through undisturbed; another is killed again and again, every second time while a
checkpoint is being written, and resumed until it ends. Prints one JSON line: what of log and
weights is equal.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file
from workshop import ROOT, make_workshop

SPEEDS = ("tokens_per_second", "samples_per_second")


def command(recipe: Path, stage: int, output: Path, *extra: str) -> list[str]:
    return [
        *(sys.executable, "-m", "parrot_cli", "train", "--stage", str(stage)),
        *("--recipe", str(recipe), "--output", str(output), *extra),
    ]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(*arguments: object) -> None:
    subprocess.run(command(*arguments), env=environment(), check=True, stdout=subprocess.DEVNULL)


def descendants(pid: int) -> list[int]:
    """A process and all that came of it, from /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += children.get(one, [])
    return found


def half_written(output: Path) -> list[Path]:
    folders = (output / "checkpoints").glob("checkpoint-*")
    return [path for path in folders if not (path / "checkpoint.json").is_file()]


def lines(output: Path) -> int:
    log = output / "log.jsonl"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def run_until_killed(arguments: list[str], output: Path, *, save: int, delay: float) -> bool:
    """Returns False if the run ended before it was its turn to be killed.

    Args:
        arguments: The command.
        output: Folder of the run.
        save: Kill while the so-manieth checkpoint is being written; 0 kills at any moment.
        delay: Seconds after the first step at which that moment is.
    """
    before = {path.name for path in (output / "checkpoints").glob("checkpoint-*")}
    saves: set[str] = set()
    began = lines(output)
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    due = None
    while process.poll() is None:
        if save:
            saves |= {path.name for path in half_written(output)} - before
            if len(saves) >= save:
                break
        elif due is None and lines(output) not in (0, began):
            due = time.monotonic() + delay
        elif due is not None and time.monotonic() > due:
            break
        time.sleep(0.001)
    else:
        return False
    for pid in descendants(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    return True


def compare(whole: Path, killed: Path) -> dict[str, object]:
    logs = []
    for output in (whole, killed):
        entries = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        logs.append([{k: v for k, v in entry.items() if k not in SPEEDS} for entry in entries])
    one, other = (load_file(output / "model.safetensors") for output in (whole, killed))
    return {
        "log_lines": len(logs[0]),
        "log_equal": logs[0] == logs[1],
        "weights_bit_equal": all(bool((one[name] == other[name]).all()) for name in one | other),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--zero", type=int, default=3, help="of several processes")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = make_workshop(folder)
        run(recipe, 1, folder / "start", "--processes", "1")
        extra = [
            *("--processes", str(options.processes), "--init-from", str(folder / "start")),
            *("--set", f"stage2.steps={options.steps}", "--set", f"stage2.zero={options.zero}"),
        ]
        run(recipe, 2, folder / "whole", *extra)
        output, at_saves, cut_off = folder / "killed", 0, 0
        for kill in range(options.kills):
            arguments = command(recipe, 2, output, *extra, "--resume")
            at = {"save": draw.randint(1, 4) if kill % 2 else 0, "delay": draw.uniform(0, 3)}
            left = {path.name for path in half_written(output)}
            if not run_until_killed(arguments, output, **at):
                break
            cut_off += 1
            at_saves += bool({path.name for path in half_written(output)} - left)
        run(recipe, 2, output, *extra, "--resume")
        print(  # noqa: T201 - this is the result
            json.dumps(
                {
                    "processes": options.processes,
                    "zero": options.zero if options.processes > 1 else 0,
                    "kills": cut_off,
                    "left_a_half_written_checkpoint": at_saves,
                    **compare(folder / "whole", output),
                }
            )
        )


if __name__ == "__main__":
    main()
