"""`parrot inspect-experts`: which expert works for which language."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_cli.checkpoints import choose_checkpoint
from parrot_cli.output import note, print_json, print_line, print_table
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
            help="Samples with a `language`, as JSON or JSONL; images are beside the file or in "
            "--image-root.",
            show_default="built-in questions",
        ),
    ] = None,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the images of --data.")] = None,
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
    print_histogram(summary)
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


def print_histogram(summary: "dict[str, LanguageRouting]") -> None:
    """Draws one bar per language and expert, all to one scale."""
    highest = max(weight for entry in summary.values() for weight in entry.mean)
    experts = len(next(iter(summary.values())).mean)
    rows: list[list[Any]] = []
    for language, entry in summary.items():
        for expert, weight in enumerate(entry.mean, start=1):
            bar = "█" * max(1, round(_BAR_CELLS * weight / highest))
            label = language if expert == 1 else ""
            rows.append([label, f"expert {expert}", f"{weight:.3f}", bar])
        if language != list(summary)[-1]:
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
    from parrot_core.inspection import built_in_conversations

    if data is None:
        pictures = None if image is None else [open_image(image)]
        return built_in_conversations(languages, pictures=pictures)
    return _read_conversations(data, image_root or data.parent, languages, limit)


def _read_conversations(
    data: Path, root: Path, languages: list[str], limit: int
) -> "dict[str, list[Conversation]]":
    from parrot_core.data.collate import as_messages
    from parrot_core.data.images import load_image
    from parrot_core.data.samples import read_samples
    from parrot_core.generation import Conversation

    found: dict[str, list[Conversation]] = {language: [] for language in languages}
    for sample in read_samples(data):
        chats = found.get(sample.language or "")
        if chats is None or len(chats) == limit or not sample.images:
            continue
        pictures = tuple(load_image(path, root=root) for path in sample.images)
        chats.append(Conversation(messages=as_messages(sample), images=pictures))
    empty = [language for language, chats in found.items() if not chats]
    if empty:
        raise UsageError(
            f"{data} has no sample with an image in {', '.join(empty)}",
            hint="Name the languages that it has with --lang.",
        )
    return found
