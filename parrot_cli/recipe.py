"""`parrot recipe`: which recipes there are, what one says, and whether it is right."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_cli.output import print_json, print_line, print_table
from parrot_cli.program import Program
from parrot_core.errors import MissingError, ParrotError

if TYPE_CHECKING:
    from parrot_core.recipe import AboutRecipe, Recipe

FOLDER = Path("recipes")

app = Program(no_args_is_help=True, help="List, show and check recipes.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value: overrides a value of the recipe; repeatable."),
]


@app.command("list")
def list_recipes(
    *,
    folder: Annotated[Path, typer.Option(help="Where recipes lie.")] = FOLDER,
    as_json: AsJson = False,
) -> None:
    """List the recipes with their hardware, hours and expected scores.

    Exit code 1 if one of them is not right.
    """
    from parrot_core.recipe import load_recipe

    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise MissingError(f"no recipe in {folder}", hint="Name a folder of recipes: --folder.")
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            rows.append({"file": str(path), **_summary(load_recipe(path))})
        except ParrotError as error:
            rows.append({"file": str(path), "name": path.stem, "faults": _lines(error)})
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("recipe", "what", "hardware", "hours", "expected, mean over languages"),
            [
                (
                    row["name"],
                    row.get("summary", f"not right: `parrot recipe check {row['file']}`"),
                    row.get("hardware", ""),
                    _hours_as_text(row.get("hours")),
                    _scores_as_text(row.get("scores", [])),
                )
                for row in rows
            ],
        )
    if any("faults" in row for row in rows):
        raise typer.Exit(1)


@app.command()
def show(
    *,
    recipe: Annotated[str, typer.Argument(help="A file, or the name of one in recipes/.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Print a recipe with every value and where it came from.

    What is printed is itself a recipe.
    """
    from parrot_core.recipe import as_toml, read_recipe, settings

    loaded = read_recipe(find_recipe(recipe), overrides=overrides or ())
    if not as_json:
        print_line(f"# {loaded.path}, every value with where it came from")
        print_line(as_toml(loaded))
        return
    print_json(
        {
            "file": str(loaded.path),
            "settings": [
                {
                    "key": setting.name,
                    "value": _plain(setting.value),
                    "origin": setting.origin,
                    "line": setting.line,
                }
                for setting in settings(loaded)
            ],
        }
    )


@app.command()
def check(
    *,
    recipes: Annotated[list[str], typer.Argument(help="Files, or names of files in recipes/.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes: every mistake with its line and its remedy.

    Exit code 1 if there are any.
    """
    from parrot_core.recipe import load_recipe

    found: dict[str, list[str]] = {}
    for name in recipes:
        path = find_recipe(name)
        try:
            load_recipe(path, overrides=overrides or ())
        except MissingError:
            raise
        except ParrotError as error:
            found[str(path)] = _lines(error)
        else:
            found[str(path)] = []
    if as_json:
        print_json(found)
    else:
        for place, faults in found.items():
            for fault in faults or [f"{place}: fine"]:
                print_line(fault)
    if any(found.values()):
        raise typer.Exit(1)


def find_recipe(name: str) -> Path:
    """Takes a file, or the name of a recipe in the usual folder.

    Raises:
        MissingError: if there is neither; names the nearest that is there.
    """
    import difflib

    for path in (Path(name), FOLDER / f"{name}.toml"):
        if path.is_file():
            return path
    known = [path.stem for path in sorted(FOLDER.glob("*.toml"))]
    near = difflib.get_close_matches(Path(name).stem, known, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise MissingError(
        f"no such recipe: {name}", hint=f"{meant}`parrot recipe list` shows those that are there."
    )


def _summary(recipe: "Recipe") -> dict[str, Any]:
    about: AboutRecipe = recipe.about
    return {
        "name": recipe.name,
        "summary": about.summary,
        "languages": list(recipe.languages),
        "language_model": recipe.model.language_model,
        "vision_encoder": recipe.model.vision_encoder,
        "hardware": about.hardware,
        "hours": None if about.hours is None else dataclasses.asdict(about.hours),
        "scores": [
            {
                "benchmark": scores.benchmark,
                "by_language": dict(
                    zip(scores.languages or recipe.languages, scores.values, strict=True)
                ),
                "source": scores.source,
                "reference": scores.reference,
            }
            for scores in about.scores
        ],
    }


def _hours_as_text(hours: dict[str, Any] | None) -> str:
    return "" if hours is None else f"{hours['value']:g} ({hours['source']})"


def _scores_as_text(scores: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{entry['benchmark']} "
        f"{sum(entry['by_language'].values()) / len(entry['by_language']):.1f} ({entry['source']})"
        for entry in scores
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - a recipe's value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]


def _lines(error: ParrotError) -> list[str]:
    return error.problem.splitlines()
