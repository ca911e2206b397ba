"""The `parrot` program as a user runs it: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def start_parrot():
    """Starts `parrot` with some arguments, and what it prints in pipes."""

    def start(*arguments, launcher=("-m", "parrot_cli")):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, *launcher, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


@pytest.fixture(scope="session")
def parrot_program(start_parrot):
    """Runs `parrot` to its end and returns its exit code, stdout and stderr."""

    def run(*arguments, **options):
        process = start_parrot(*arguments, **options)
        stdout, stderr = process.communicate(timeout=500)
        return process.returncode, stdout, stderr

    return run
