"""`parrot inspect-experts`: which expert works for which language."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_cli.checkpoints import choose_checkpoint
from parrot_cli.output import library_output_to_stderr, note, print_json, print_line, print_table
from parrot_core.errors import UsageError
from parrot_core.languages import parse_languages

if TYPE_CHECKING:
    from parrot_core.generation import Conversation
    from parrot_core.inspection import LanguageRouting

_BAR_CELLS = 28


def inspect_experts(
    *,
    model: Annotated[
        Path | None,
        typer.Option(help="The checkpoint.", show_default="the newest below runs/"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Samples with a `language` (JSON, JSONL), a benchmark's TSV, or a folder of "
            "those.",
            show_default="built-in questions",
        ),
    ] = None,
    image_root: Annotated[
        Path | None,
        typer.Option(help="Folder of the images of samples.", show_default="the file's"),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Ask the built-in questions about this picture.")
    ] = None,
    lang: Annotated[str, typer.Option(help="Languages, for instance tr,ar, or all.")] = "all",
    limit: Annotated[int, typer.Option(min=2, help="At most so many samples a language.")] = 200,
    output: Annotated[
        Path | None, typer.Option(help="Folder for routing.png and routing.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the weights as JSON.")] = False,
) -> None:
    """Show the mean routing weights per language (Figure 7c of the paper)."""
    languages = parse_languages(lang)
    if data is not None and image is not None:
        raise UsageError("--data and --image exclude each other", hint="Give one of them.")

    with library_output_to_stderr():
        from parrot_core.generation import load_for_use
        from parrot_core.inspection import (
            language_told_by_routing,
            routing_by_language,
            summarise,
        )

        conversations = _conversations(data, image_root, image, languages, limit)
        parts = load_for_use(choose_checkpoint(model))
        routed = routing_by_language(*parts, conversations)
        summary = summarise(routed)
        told = language_told_by_routing(routed)
    if output is not None:
        save_routing(summary, told, output)
    if as_json:
        print_json({language: list(entry.mean) for language, entry in summary.items()})
        return
    print_histogram({language: entry.mean for language, entry in summary.items()})
    print_line(
        f"language told by routing alone (nearest centroid): {told:.0%}, by chance "
        f"{1 / len(summary):.0%}"
    )


def save_routing(summary: "dict[str, LanguageRouting]", told: float, output: Path) -> None:
    """Writes `routing.json` and `routing.png`."""
    import json

    from parrot_cli.charts import draw_routing

    output.mkdir(parents=True, exist_ok=True)
    report = {
        "routing": {language: list(entry.mean) for language, entry in summary.items()},
        "deviation": {language: list(entry.deviation) for language, entry in summary.items()},
        "images": {language: entry.count for language, entry in summary.items()},
        "language_told_by_routing": told,
    }
    (output / "routing.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    draw_routing(summary, output / "routing.png")
    note(f"wrote {output / 'routing.json'} and {output / 'routing.png'}")


def print_histogram(means: Mapping[str, Sequence[float]]) -> None:
    """Draws one bar per language and expert, all to one scale."""
    highest = max(weight for weights in means.values() for weight in weights)
    experts = len(next(iter(means.values())))
    rows: list[list[Any]] = []
    for language, weights in means.items():
        for expert, weight in enumerate(weights, start=1):
            bar = "█" * max(1, round(_BAR_CELLS * weight / highest))
            label = language if expert == 1 else ""
            rows.append([label, f"expert {expert}", f"{weight:.3f}", bar])
        if language != list(means)[-1]:
            rows.append([""] * 4)
    print_table(
        ["language", "expert", "weight", ""], rows, title=f"mean routing over {experts} experts"
    )


def _conversations(
    data: Path | None,
    image_root: Path | None,
    image: Path | None,
    languages: list[str],
    limit: int,
) -> "dict[str, list[Conversation]]":
    from parrot_core.data.images import open_image
    from parrot_core.inspection import (
        benchmark_conversations,
        built_in_conversations,
        sample_conversations,
    )

    if data is None:
        pictures = None if image is None else [open_image(image)]
        return built_in_conversations(languages, pictures=pictures)
    if data.is_dir() or data.suffix == ".tsv":
        tables = sorted(data.glob("*.tsv")) if data.is_dir() else [data]
        return benchmark_conversations(tables, languages=languages, limit=limit)
    root = image_root or data.parent
    return sample_conversations(data, root=root, languages=languages, limit=limit)
