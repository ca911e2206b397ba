"""The documents name what there is: files, functions, commands, options, targets, the version."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import parrot_core
from parrot_cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "recipes").rglob("*.toml")))
}
ANY_OPTION = {"--help", "-h"}


def commands(text: str) -> list[str]:
    """What a text would have its reader type: in its code blocks, back-ticks and comments."""
    spans = re.findall(r"`([^`\n]+)`", text)
    lines = re.findall(r"^(?:#\s+|\s*)(parrot .+)$", text, re.MULTILINE)
    found = [span for span in (*spans, *lines) if span.startswith("parrot ")]
    return sorted({found_one.partition(" #")[0].strip() for found_one in found})


def unknown_words(command: str) -> list[str]:
    """The options that a command does not have, or the command itself if there is none."""
    words = shlex.split(command.replace("\\|", "|"), comments=True)[1:]
    place = get_command(app)
    while words and hasattr(place, "commands"):
        alternatives = words[0].rstrip(",;").split("|")
        if words[0].startswith("-"):
            break
        if missing := [name for name in alternatives if name not in place.commands]:
            return missing
        place = place.commands[alternatives[0]]
        words.pop(0)
    known = {name for parameter in place.params for name in parameter.opts} | ANY_OPTION
    options = [word.partition("=")[0].rstrip(",;") for word in words if word.startswith("-")]
    return [option for option in options if option not in known]


def definitions(path: Path) -> set[str]:
    """Names of a file's functions and classes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def paper_and_code() -> list[str]:
    table = README.split("## Paper and code")[1].split("\n## ")[0]
    return [line for line in table.splitlines() if "`" in line]


@pytest.mark.parametrize("row", paper_and_code())
def test_what_the_paper_says_is_where_the_table_says(row):
    place, *names = re.findall(r"`([^`]+)`", row)
    path, _, name = place.partition("::")
    assert (ROOT / path).exists()
    for wanted in filter(None, (name, *names)):
        assert wanted in definitions(ROOT / path)


def test_the_table_has_every_equation():
    assert [row for row in paper_and_code() if "| Eq." in row][4:]


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_options_that_a_document_names_are_there(name):
    found = commands(TEXTS[name])
    assert found, "a document that names no command helps nobody"
    assert {command: wrong for command in found if (wrong := unknown_words(command))} == {}


def test_an_unknown_command_or_option_would_be_seen():
    assert unknown_words("parrot trian --stage 1") == ["trian"]
    assert unknown_words("parrot train --stag 1") == ["--stag"]
    assert unknown_words("parrot recipe list|shwo") == ["shwo"]
    assert unknown_words("parrot train --stage 1 --recipe FILE") == []


def test_scripts_that_the_readme_names_are_there():
    scripts = re.findall(r"python (tests/\S+\.py)", README)
    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_the_readmes_two_commands_are_targets_of_the_makefile():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert named == ["demo", "test"]
    assert set(named) <= set(targets)


def test_the_readmes_python_would_run():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = __import__(str(node.module), fromlist=[alias.name for alias in node.names])
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_newest_version_of_the_changelog_is_the_packages():
    headings = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == parrot_core.__version__
    assert headings.count("Unreleased") <= 1
