"""One rule for all commands: an option that takes one value is given once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from parrot_core.errors import UsageError


class Program(typer.Typer):
    """A Typer app, or a group of its commands, whose options are never overridden in silence.

    Click takes the last of an option's values and forgets the others: `--data A --data B` would
    look at B alone.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as `Typer` takes them
        super().__init__(cls=Group, **settings)

    def command(
        self,
        name: str | None = None,
        **settings: Any,  # noqa: ANN401 - as `Typer.command` takes them
    ) -> Callable[[Any], Any]:
        """Adds a command that holds to the rule."""
        return super().command(name, cls=Command, **settings)


class Command(TyperCommand):
    """A command that holds to the rule."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Click's context
        """Reads the arguments."""
        return _read_once(self, super().parse_args, ctx, args)


class Group(TyperGroup):
    """A group whose own options hold to the rule."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Click's context
        """Reads the arguments."""
        return _read_once(self, super().parse_args, ctx, args)


def _read_once(
    command: TyperCommand | TyperGroup,
    read: Callable[[Any, list[str]], list[str]],
    ctx: Any,  # noqa: ANN401 - Click's context
    args: list[str],
) -> list[str]:
    given = list(args)
    rest = read(ctx, args)
    if ctx.resilient_parsing:  # a shell asks what may follow
        return rest
    _, _, order = command.make_parser(ctx).parse_args(given)
    for option, times in Counter(order).items():
        if times > 1 and isinstance(option, TyperOption) and _takes_one_value(option):
            raise UsageError(
                f"{option.opts[0]} is given {times} times and takes one value",
                hint=f"Give it once; {ctx.command_path} --help says which options may be repeated.",
            )
    return rest


def _takes_one_value(option: TyperOption) -> bool:
    """Whether only one value of an option can count; flags have none, and may be repeated."""
    return not (option.multiple or option.is_flag or option.count)
