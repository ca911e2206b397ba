"""Which room of the core may use which: the map in `parrot_core/__init__.py`, held to."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import parrot_core

CORE = Path(parrot_core.__file__).parent
COMMANDS = CORE.parent / "parrot_cli"

BASE = {"errors", "languages", "parrot_core"}
MAY_IMPORT = {
    "errors": set(),
    "languages": {"errors"},
    "machine": BASE,
    "recipe": BASE,
    "data": BASE,
    "model": BASE,
    "translation": BASE | {"data"},
    "benchmarks": BASE | {"data", "machine"},
    "generation": BASE | {"data", "machine", "model"},
    "inspection": BASE | {"benchmarks", "data", "generation", "model"},
    "serving": BASE | {"data", "generation", "inspection", "model"},
    "training": BASE | {"data", "machine", "model", "recipe"},
}
"""By room; `parrot_core` is the package itself, which has the version and imports nothing."""


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def rooms_used() -> dict[str, dict[str, Path]]:
    """For each room the others that it imports, each with a file that does."""
    used: dict[str, dict[str, Path]] = {}
    for path in sorted(CORE.rglob("*.py")):
        if path == CORE / "__init__.py":
            continue
        others = used.setdefault(room_of(path), {})
        for name in imported(path):
            package, _, rest = name.partition(".")
            if package == "parrot_core":
                first = rest.partition(".")[0]
                is_room = (CORE / first).is_dir() or (CORE / f"{first}.py").is_file()
                others.setdefault(first if first and is_room else "parrot_core", path)
        others.pop(room_of(path), None)
    return used


def test_the_table_names_every_room_and_no_other():
    assert set(rooms_used()) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    wrong = {
        other: str(path)
        for other, path in rooms_used()[room].items()
        if other not in MAY_IMPORT[room]
    }
    assert not wrong


def test_rooms_have_no_cycle():
    graph = {room: set(others) - {"parrot_core"} for room, others in rooms_used().items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("data") < order.index("inspection")


def test_the_core_does_not_know_the_command_line():
    for path in CORE.rglob("*.py"):
        assert not {name for name in imported(path) if name.startswith("parrot_cli")}, path


def test_the_core_itself_imports_nothing():
    assert imported(CORE / "__init__.py") == set()


def test_files_import_no_private_names_of_other_files():
    for path in (*CORE.rglob("*.py"), *COMMANDS.rglob("*.py")):
        private = {
            name
            for name in imported(path)
            if name.startswith("parrot_") and name.rpartition(".")[2].startswith("_")
        } - {"parrot_core.__version__"}
        assert not private, path


def test_imports_inside_functions_are_seen(tmp_path):
    path = tmp_path / "room.py"
    path.write_text("def late():\n    from parrot_core.model import join\n", encoding="utf-8")
    assert imported(path) == {"parrot_core.model.join"}
