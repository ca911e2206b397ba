"""The `parrot` program as a user runs it: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from parrot_core.data.emoji import build
from parrot_core.data.emoji.materials import STYLES, Annotation, CatalogueEntry, Materials
from parrot_core.data.emoji.sources import SOURCES

ROOT = Path(__file__).parents[2]
_PATHS = filter(None, [os.environ.get("PYTHONPATH")])
_CONCEPTS = 210  # the default benchmark asks about 200
_DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1h{}v3z"/></svg>'


@pytest.fixture(scope="session")
def start_parrot():
    """Starts `parrot` with some arguments, and what it prints in pipes."""

    def start(*arguments, launcher=("-m", "parrot_cli"), **environment):
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *_PATHS])
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


@pytest.fixture
def packages(monkeypatch):
    """Stands in for the packages, which the network and pinned hashes keep out of a test."""
    keys = [f"{number:x}" for number in range(0x1F300, 0x1F300 + _CONCEPTS)]
    groups = ("animals-nature", "food-drink", "travel-places", "activities", "objects")
    names = {key: Annotation(name=f"thing{key}", keywords=()) for key in keys}
    asked = []

    def load_materials(cache, *, languages):
        asked.append(cache)
        return Materials(
            catalogue=[
                CatalogueEntry(codepoints=key, group=groups[i % 5], subgroup="thing")
                for i, key in enumerate(keys)
            ],
            annotations={
                code: {
                    # a name of letters and digits would be too long for a Chinese one
                    key: Annotation(name=chr(0x4E00 + i), keywords=()) if code == "zh" else row
                    for i, (key, row) in enumerate(names.items())
                }
                for code in languages
            },
            artwork={
                style: {key: _DRAWING.format(1 + i % 7) for i, key in enumerate(keys)}
                for style in STYLES
            },
            sources=SOURCES,
            notices={},
        )

    monkeypatch.setattr(build, "load_materials", load_materials)
    return SimpleNamespace(caches=asked, concepts=_CONCEPTS)
