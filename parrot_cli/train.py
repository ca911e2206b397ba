"""`parrot train`: one stage of a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.estimate import print_estimate
from parrot_cli.output import library_output_to_stderr, note, print_line, progress_bar
from parrot_core.errors import UsageError

STAGES = ("language-model", "1", "2")


def train(
    *,
    stage: Annotated[
        str,
        typer.Option(
            help="1 aligns the projector; 2 tunes projector, experts and language model. "
            "language-model trains a small one on text, for recipes that have no pretrained one."
        ),
    ],
    recipe: Annotated[Path, typer.Option(help="The recipe, a TOML file.")],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/<recipe>/stage<N>"),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            help="Start from this checkpoint (stage 1: this language model).",
            show_default="the newest run of the stage before",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value: overrides a value of the recipe; repeatable."),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Do not train: say how many parameters learn, how much memory each GPU needs, and "
            "how many tokens, steps and hours there are. Exit code 1 if it does not fit.",
        ),
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(help="With --estimate: for this GPU.", show_default="the recipe's"),
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(
            help="With --estimate: share of the GPU's peak bfloat16 rate that is reached.",
            min=0.001,
            max=1.0,
            show_default="that of the paper's 7B run",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --estimate: print JSON.")] = False,
) -> None:
    """Train one stage of a recipe; everything but the stage is in the recipe."""
    from parrot_core.recipe import load_recipe

    if stage not in STAGES:
        raise UsageError(f"unknown stage {stage!r}", hint=f"Stages: {', '.join(STAGES)}.")
    settings = load_recipe(recipe, overrides=overrides or ())
    if estimate:
        print_estimate(settings, stage, gpu=gpu, utilisation=utilisation, as_json=as_json)
        return
    folder = output or default_output(settings.name, stage, settings.model.language_model)

    with library_output_to_stderr(), progress_bar(f"stage {stage}") as show:
        from parrot_core.training import Progress, train_language_model, train_stage

        def on_progress(progress: Progress) -> None:
            loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
            show(progress.step, progress.steps, loss)

        if stage == "language-model":
            train_language_model(settings, output=folder, on_progress=on_progress)
        else:
            train_stage(
                settings,
                int(stage),
                output=folder,
                init_from=init_from,
                on_progress=on_progress,
                on_start=_print_parts,
            )
    print_line(str(folder))


def default_output(name: str, stage: str, language_model: str) -> Path:
    """Where a stage's run lies if nobody says otherwise."""
    return (
        Path(language_model) if stage == "language-model" else Path("runs", name, f"stage{stage}")
    )


def _print_parts(parts: dict[str, tuple[int, bool]]) -> None:
    for name, (count, learns) in parts.items():
        note(f"{name:>16}: {count:>12,} parameters, {'learns' if learns else 'frozen'}")
