"""`parrot doctor`: what the machine has, what a recipe needs, and what is missing."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.output import library_output_to_stderr, note, print_json, print_line, print_table
from parrot_cli.recipe import AsJson, Overrides, find_recipe

_MISSING = 3


def doctor(
    *,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe whose needs are looked at, too: file or name.")
    ] = None,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="Where runs would be written.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Say what this machine has, and what a recipe needs.

    Exit code 3 if something is missing.
    """
    from parrot_core.machine import look_at_machine
    from parrot_core.recipe import load_recipe

    settings = None
    if recipe is not None:
        settings = load_recipe(find_recipe(recipe), overrides=overrides or ())
    with library_output_to_stderr():
        found = {"machine": look_at_machine(output)}
        if settings is not None:
            from parrot_core.training.needs import look_at_needs

            found[settings.name] = look_at_needs(settings, output=output)
    missing = sum(entry.status == "missing" for findings in found.values() for entry in findings)
    if as_json:
        print_json(
            {
                "missing": missing,
                **{
                    name: [dataclasses.asdict(entry) for entry in findings]
                    for name, findings in found.items()
                },
            }
        )
    else:
        for name, findings in found.items():
            print_table(
                (name, "", "found", "what to do"),
                [(entry.about, entry.status, entry.detail, entry.hint or "") for entry in findings],
            )
        print_line("nothing is missing" if not missing else f"{missing} missing")
    if recipe is None and not as_json:
        note("parrot doctor --recipe FILE says what a recipe needs besides")
    if missing:
        raise typer.Exit(_MISSING)
