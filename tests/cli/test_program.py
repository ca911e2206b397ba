"""What holds for the options of all commands."""

import pytest
import typer

from parrot_cli.app import app as parrot
from parrot_cli.program import Command, Group, Program
from parrot_core.errors import UsageError


@pytest.fixture
def run():
    """A program of one group with one command, run without a shell; returns what it was given."""
    app, group = Program(), Program()
    app.add_typer(group, name="group")
    given = {}

    @group.callback()
    def callback(*, place: str = "here"):
        given["place"] = place

    @group.command("do")
    def do(*, name: str = "", tag: list[str] | None = None, loud: bool = False):
        given.update(name=name, tag=tag, loud=loud)

    def run(*arguments):
        app(["group", *arguments], standalone_mode=False)
        return given

    return run


def test_an_option_with_one_value_is_refused_the_second_time(run):
    with pytest.raises(UsageError, match="--name is given 2 times and takes one value") as caught:
        run("do", "--name", "a", "--name=b")
    assert "group do --help" in caught.value.hint


def test_options_of_a_group_hold_to_it_too(run):
    with pytest.raises(UsageError, match="--place is given 3 times"):
        run(*(word for place in "abc" for word in ("--place", place)), "do")


def test_what_takes_several_values_and_flags_may_be_repeated(run):
    given = run("do", "--name", "a", "--tag", "x", "--tag", "y", "--loud", "--loud")
    assert given == {"place": "here", "name": "a", "tag": ["x", "y"], "loud": True}


def commands_below(command, path="parrot"):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands_below(below, f"{path} {name}")


def test_every_command_of_parrot_holds_to_it():
    commands = dict(commands_below(typer.main.get_command(parrot)))
    assert {"parrot", "parrot eval", "parrot data review import"} <= set(commands)
    others = [path for path, one in commands.items() if not isinstance(one, Command | Group)]
    assert others == []
