"""The command: what is asked, of which checkpoint, and what is shown of it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_cli.checkpoints import DeviceOption, DtypeOption, choose_checkpoint
from parrot_cli.inspect_experts import display, files
from parrot_cli.output import library_output_to_stderr, loading, print_json, progress_bar
from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import PAPER_LANGUAGES, parse_languages

if TYPE_CHECKING:
    from parrot_core.inspection import Ablation, Asked, Inspection
    from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

    Parts = tuple[ParrotForConditionalGeneration, ParrotProcessor]

DRAWINGS = Path("inspection")
"""Where pictures go that were asked for without saying where."""

DATA_FORMATS = (".tsv", ".json", ".jsonl")
"""Ends of the files that count in a folder of data."""


def inspect_experts(
    *,
    model: Annotated[
        Path | None,
        typer.Option(help="The checkpoint.", show_default="the newest below runs/"),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Samples with a `language` (JSON, JSONL), a benchmark's TSV, or a folder of "
            "those; may be repeated.",
            show_default="built-in questions",
        ),
    ] = None,
    image_root: Annotated[
        Path | None,
        typer.Option(help="Folder of the images of samples.", show_default="the file's"),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            help="Ask the built-in questions about this picture; may be repeated.",
            show_default="drawn shapes",
        ),
    ] = None,
    lang: Annotated[
        str, typer.Option(help="Languages, for instance tr,ar, or all that the data have.")
    ] = "all",
    limit: Annotated[
        int,
        typer.Option(
            min=1, help="With --data: at most so many questions a language, drawn from all."
        ),
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of whatever is drawn.")] = 0,
    words: Annotated[
        bool, typer.Option("--words", help="Which words pulled the router (Eq. 2).")
    ] = False,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Switch experts off and score the answers of --data."),
    ] = False,
    tsne: Annotated[
        bool,
        typer.Option("--tsne", help="Draw visual tokens before and after the experts (Figure 6)."),
    ] = False,
    over_training: Annotated[
        Path | None,
        typer.Option(help="Draw the routing that this run (folder or log.jsonl) logged."),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Two checkpoints: which languages' routing differs."),
    ] = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pictures (PNG, SVG) and tables (CSV, JSON).",
            show_default=f"{DRAWINGS}/ for --tsne and --over-training, else none",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the mean weights as JSON, and what else is asked for."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --json: everything else that is known, too.")
    ] = False,
) -> None:
    """Show which expert works for which language (Figure 7c).

    What is shown are the mean routing weights, and what they say.
    """
    _check_options(
        {"--data": data, "--image": image},
        {"--over-training": over_training, "--compare": compare, "--model": model},
        {"--over-training": over_training, "--compare": compare, "--words": words or None},
        {"--over-training": over_training, "--compare": compare, "--ablate": ablate or None},
        {"--over-training": over_training, "--compare": compare, "--tsne": tsne or None},
        {"--over-training": over_training, "--data": data, "--image": image},
    )
    if ablate and not data:
        raise UsageError(
            "--ablate scores answers, and the built-in questions have none",
            hint="Give --data with answers: training samples or a benchmark's tables.",
        )
    if image_root is not None and not data:
        raise UsageError(
            "--image-root is where the images of samples lie, and there are none",
            hint="Give samples with --data, or pictures with --image.",
        )
    if full and not as_json:
        raise UsageError("--full says more in JSON", hint="Give --json, too.")
    if output is None and (tsne or over_training is not None):
        output = DRAWINGS
    if over_training is not None:
        _show_log(over_training, files.open_folder(output or DRAWINGS), as_json=as_json)
        return
    languages = parse_languages(lang)
    wanted = None if lang.strip().lower() == "all" else languages
    checkpoints = list(compare) if compare is not None else [choose_checkpoint(model)]
    if output is not None:
        files.open_folder(output)
    with library_output_to_stderr():
        questions = _questions(data or [], image_root, image or [], wanted, limit=limit, seed=seed)
    models = (_load(checkpoint, device=device, dtype=dtype) for checkpoint in checkpoints)
    if compare is not None:
        _compare(checkpoints, models, questions, output, as_json=as_json)
        return
    with library_output_to_stderr():
        from parrot_core.inspection import map_tokens

        found, ablation = _inspect(
            next(models), questions, words=words, tokens=tsne, ablate=ablate, seed=seed
        )
        maps = map_tokens(found.clouds, seed=seed) if found.clouds is not None else None
    if output is not None:
        files.save_inspection(found, output, ablation=ablation, maps=maps)
    if as_json:
        print_json(_as_json(found, ablation, full=full))
        return
    display.print_inspection(found)
    if found.words is not None:
        display.print_words(found.words)
    if ablation is not None:
        display.print_ablation(ablation)
    if found.clouds is not None:
        display.print_tokens(found.clouds)


def _check_options(*groups: Mapping[str, object]) -> None:
    """Refuses options that exclude each other."""
    for group in groups:
        given = [name for name, value in group.items() if value is not None]
        if len(given) > 1:
            raise UsageError(
                f"{given[0]} and {given[1]} exclude each other", hint="Give one of them."
            )


def _load(checkpoint: Path, *, device: str | None, dtype: str) -> "Parts":
    with loading(checkpoint):
        from parrot_core.generation import load_for_use

        return load_for_use(checkpoint, device=device, dtype=dtype)


def _inspect(
    parts: "Parts",
    questions: "Mapping[str, list[Asked]]",
    *,
    words: bool,
    tokens: bool,
    ablate: bool,
    seed: int,
) -> "tuple[Inspection, Mapping[str, Ablation] | None]":
    from parrot_core import inspection

    with progress_bar("routing") as show:
        found = inspection.inspect(
            *parts,
            questions,
            words=words,
            tokens=tokens,
            seed=seed,
            on_progress=lambda done, total: show(done, total, ""),
        )
    if not ablate:
        return found, None
    with progress_bar("experts off") as show:
        return found, inspection.ablate(
            *parts, questions, on_progress=lambda done, total: show(done, total, "")
        )


def _as_json(
    found: "Inspection", ablation: "Mapping[str, Ablation] | None", *, full: bool
) -> dict[str, Any]:
    """Per language its weights, and beside them under their names what else was asked for."""
    from parrot_core.inspection import inspection_as_json

    report = inspection_as_json(found, ablation)
    del report["routing"]
    asked_for = {"words", "ablation", "tokens"}
    extra = {name: value for name, value in report.items() if full or name in asked_for}
    return {**found.means, **extra}


def _show_log(path: Path, output: Path, *, as_json: bool) -> None:
    with library_output_to_stderr():
        from parrot_core.inspection import read_routing_log

        log = read_routing_log(path)
        files.save_over_training(log, output)
    if as_json:
        print_json([{"step": entry.step, "routing": dict(entry.routing)} for entry in log])
    else:
        display.print_over_training(log)


def _compare(
    checkpoints: Sequence[Path],
    models: "Iterable[Parts]",
    questions: "Mapping[str, list[Asked]]",
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    with library_output_to_stderr():
        from parrot_core.inspection import compare, comparison_as_json

        sides = []
        for parts in models:  # one after the other: two may not fit
            found, _ = _inspect(parts, questions, words=False, tokens=False, ablate=False, seed=0)
            sides.append(found.routing)
        found_change = compare(*sides)
    if output is not None:
        files.save_comparison(sides, found_change, output)
    if as_json:
        print_json(comparison_as_json(found_change))
    else:
        display.print_comparison(found_change, checkpoints)


def _questions(
    data: Sequence[Path],
    image_root: Path | None,
    images: Sequence[Path],
    languages: list[str] | None,
    *,
    limit: int,
    seed: int,
) -> "dict[str, list[Asked]]":
    from parrot_core import inspection
    from parrot_core.data.images import open_image

    if not data:
        pictures = [open_image(image) for image in images]
        return inspection.built_in_conversations(languages or PAPER_LANGUAGES, pictures=pictures)
    files = [file for path in data for file in _files_of(path)]
    return inspection.data_conversations(
        files, root=image_root, languages=languages, limit=limit, seed=seed
    )


def _files_of(path: Path) -> list[Path]:
    """The data of a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in DATA_FORMATS)
    if not found:
        raise MissingError(
            f"no data in {path}", hint=f"Name a folder of files {', '.join(DATA_FORMATS)}."
        )
    return found
