"""`parrot train`: one stage of a recipe."""

import itertools
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parrot_cli.estimate import print_estimate
from parrot_cli.output import (
    library_output_to_stderr,
    note,
    print_line,
    progress_bar,
    quieten_libraries,
)
from parrot_cli.train_display import describe_first_batch
from parrot_core.errors import UsageError

if TYPE_CHECKING:
    from parrot_core.data.first_batch import FirstBatch
    from parrot_core.data.index import Indexing
    from parrot_core.recipe import Recipe
    from parrot_core.training import Checkpoint, Progress

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
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes on this machine, one per GPU. Under torchrun, deepspeed or srun these "
            "have started them already.",
            show_default="launch.processes of the recipe, or the GPUs that are found",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the newest checkpoint of a run that was cut off."
        ),
    ] = False,
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
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Prepare everything, show the first samples and what is learnt of them, stop.",
        ),
    ] = False,
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
    """Train one stage of a recipe. Everything but the stage is in the recipe."""
    from parrot_core.recipe import load_recipe

    if stage not in STAGES:
        raise UsageError(f"unknown stage {stage!r}", hint=f"Stages: {', '.join(STAGES)}.")
    if stage == "language-model":
        several = processes if processes != 1 else None
        _refuse("the stage language-model", {"--processes": several, "--init-from": init_from})
    if not estimate:
        only = {"--gpu": gpu, "--utilisation": utilisation, "--json": as_json or None}
        _refuse("training without --estimate", only)
    settings = load_recipe(recipe, overrides=overrides or ())
    if estimate:
        print_estimate(
            settings,
            stage,
            processes=processes,
            gpu=gpu,
            utilisation=utilisation,
            as_json=as_json,
        )
        return
    if dry_run and stage == "language-model":
        raise UsageError(
            "the stage language-model learns its tokenizer first: nothing to show before that",
            hint="--dry-run is for stages 1 and 2.",
        )
    dry: list[FirstBatch] | None = [] if dry_run else None
    folder = output or default_output(settings.name, stage, settings.model.language_model)

    with library_output_to_stderr(), _place(folder, dry_run=dry_run) as place:
        from parrot_cli.workers import Reporting, is_worker, start_workers

        working = is_worker()
        alone = working or dry_run or stage == "language-model"
        count = 1 if alone else _processes(settings, processes)
        if stage != "language-model":
            # A dry run is one process, but speaks of as many as were asked for.
            _check_batch(settings, stage, (processes or 1) if dry_run else count)
            if not working and not dry_run:
                _check_memory(settings, int(stage), count)
        if count > 1:
            start_workers(_as_arguments(stage, recipe, folder, resume, init_from, overrides), count)
        else:
            with Reporting(debug="--debug" in sys.argv) if working else nullcontext():
                _train(settings, stage, place, resume=resume, init_from=init_from, dry=dry)
    if dry is not None:
        for line in itertools.chain.from_iterable(map(describe_first_batch, dry)):
            print_line(line)
    elif not working:
        print_line(str(folder))


def _refuse(by: str, options: Mapping[str, object]) -> None:
    """Refuses options that would say nothing."""
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{by} has no use for {name}", hint=f"Leave {name} out.")


@contextmanager
def _place(output: Path, *, dry_run: bool) -> Iterator[Path]:
    """The folder of a run; for a dry one another beside it, so that nothing there is touched."""
    if not dry_run:
        yield output
        return
    made = [folder for folder in output.parents if not folder.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=output.parent) as scratch:
            yield Path(scratch)
    finally:
        with suppress(OSError):  # somebody else has put something there by now
            for folder in made:
                folder.rmdir()


def default_output(name: str, stage: str, language_model: str) -> Path:
    """Where a stage's run lies if nobody says otherwise."""
    return (
        Path(language_model) if stage == "language-model" else Path("runs", name, f"stage{stage}")
    )


def _processes(recipe: "Recipe", asked: int | None) -> int:
    """How many processes to start here."""
    import torch

    if recipe.launch.nodes > 1:
        raise UsageError(
            f"the recipe is for {recipe.launch.nodes} nodes, and this command starts one",
            hint=f"On every node: torchrun --nnodes {recipe.launch.nodes} --nproc-per-node GPUS "
            "--rdzv-backend c10d --rdzv-endpoint HOST:PORT -m parrot_cli train …; or srun.",
        )
    gpus = torch.cuda.device_count()
    count = asked or recipe.launch.processes or max(1, gpus)
    if 0 < gpus < count:
        raise UsageError(
            f"{count} processes want a GPU each, and this machine has {gpus}",
            hint=f"Give --processes {gpus}, or start the run where there are {count}.",
        )
    return count


def _check_batch(recipe: "Recipe", stage: str, processes: int) -> None:
    """Refuses a batch that does not divide before any process is started."""
    from parrot_core.recipe import share_batch

    settings = recipe.stage1 if stage == "1" else recipe.stage2
    share_batch(settings.global_batch_size, processes=processes, at_most=settings.device_batch_size)


def _check_memory(recipe: "Recipe", stage: int, processes: int) -> None:
    """Refuses a stage that cannot fit into this machine's GPUs, or warns that it may not."""
    from parrot_core.machine import find_gpus

    gpus = find_gpus()
    if not gpus:
        return
    from parrot_core.training.estimate import check_memory

    smallest = min(gpus, key=lambda gpu: gpu.memory_bytes)
    warning = check_memory(
        recipe, stage, processes=processes, gpu_bytes=smallest.memory_bytes, gpu=smallest.name
    )
    if warning is not None:
        note(f"warning: {warning}")


def _as_arguments(
    stage: str,
    recipe: Path,
    output: Path,
    resume: bool,  # noqa: FBT001 - as the user said it
    init_from: Path | None,
    overrides: list[str] | None,
) -> list[str]:
    """The command line of a worker."""
    arguments = ["--debug"] if "--debug" in sys.argv else []
    if logging.getLogger().isEnabledFor(logging.INFO):
        arguments.append("--verbose")
    arguments += ["train", "--stage", stage, "--recipe", str(recipe), "--output", str(output)]
    if resume:
        arguments.append("--resume")
    if init_from is not None:
        arguments += ["--init-from", str(init_from)]
    for override in overrides or ():
        arguments += ["--set", override]
    return arguments


def _train(
    recipe: "Recipe",
    stage: str,
    output: Path,
    *,
    resume: bool,
    init_from: Path | None,
    dry: list["FirstBatch"] | None,
) -> None:
    """Trains; or, where a list is given to put it into, only prepares the first batch."""
    quieten_libraries()
    from parrot_core.training import train_language_model, train_stage

    with progress_bar(f"stage {stage}") as show:

        def on_progress(progress: "Progress") -> None:
            show(progress.step, progress.steps, _remark(progress))

        def on_indexing(indexing: "Indexing") -> None:
            show(indexing.done, indexing.total, f"{indexing.task} of {indexing.file.name}")

        def on_first_batch(first: "FirstBatch") -> bool:
            if dry is not None:
                dry.append(first)
                return False
            for line in describe_first_batch(first):
                note(line)
            return True

        if stage == "language-model":
            train_language_model(
                recipe,
                output=output,
                resume=resume,
                on_progress=on_progress,
                on_resume=_print_resumed,
            )
        else:
            train_stage(
                recipe,
                int(stage),
                output=output,
                init_from=init_from,
                resume=resume,
                on_progress=on_progress,
                on_start=_print_parts,
                on_resume=_print_resumed,
                on_indexing=on_indexing,
                on_first_batch=on_first_batch,
            )


def _remark(progress: "Progress") -> str:
    parts = []
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.tokens_per_second is not None:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.samples_per_second is not None:
        parts.append(f"{progress.samples_per_second:,.1f} samples/s")
    if not sys.stderr.isatty():  # a bar shows the time left itself
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return ", ".join(parts)


def _print_parts(parts: dict[str, tuple[int, bool]]) -> None:
    for name, (count, learns) in parts.items():
        note(f"{name:>16}: {count:>12,} parameters, {'learns' if learns else 'frozen'}")


def _print_resumed(checkpoint: "Checkpoint") -> None:
    note(
        f"resumes at step {checkpoint.step} from {checkpoint.path}: weights, optimiser, schedule, "
        "random state, place in the data"
    )
