"""What `parrot inspect-experts --output` writes: JSON, CSV, and pictures."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from parrot_cli.inspect_experts import charts
from parrot_cli.output import note
from parrot_core.errors import MissingError

if TYPE_CHECKING:
    from parrot_core.inspection import (
        Ablation,
        Comparison,
        Inspection,
        LanguageRouting,
        LoggedRouting,
        TokenMap,
    )


def open_folder(output: Path) -> Path:
    """Makes the folder, and sees that it can be written before any work is done.

    Raises:
        MissingError: if it cannot.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise MissingError(
            f"cannot write to {output}: {error.strerror}", hint="Choose another --output."
        ) from error
    return output


def save_inspection(
    found: "Inspection",
    output: Path,
    *,
    ablation: "Mapping[str, Ablation] | None" = None,
    maps: "Mapping[str, TokenMap] | None" = None,
) -> None:
    """Writes `routing.json` with everything, a CSV file for each table, and the pictures."""
    from parrot_core.inspection import inspection_as_json

    written = [_write_json(output / "routing.json", inspection_as_json(found, ablation))]
    written.append(
        _write_csv(
            output / "routing.csv",
            ["language", "expert", "mean", "deviation", "images"],
            (
                [code, expert, mean, deviation, entry.count]
                for code, entry in found.routing.items()
                for expert, (mean, deviation) in enumerate(
                    zip(entry.mean, entry.deviation, strict=True), 1
                )
            ),
        )
    )
    written += charts.draw_routing(found.routing, output / "routing")
    written += charts.draw_heatmaps(found, output / "heatmaps")
    if found.words is not None:
        written += _save_words(found, output)
    if ablation is not None:
        written += _save_ablation(ablation, output)
    if maps is not None:
        written += _save_tokens(maps, output)
    _say(written)


def save_over_training(log: "Sequence[LoggedRouting]", output: Path) -> None:
    """Writes the logged routing as CSV and as a picture."""
    rows = (
        [entry.step, code, expert, weight]
        for entry in log
        for code, weights in entry.routing.items()
        for expert, weight in enumerate(weights, 1)
    )
    path = output / "over-training.csv"
    written = [_write_csv(path, ["step", "language", "expert", "weight"], rows)]
    _say([*written, *charts.draw_over_training(log, output / "over-training")])


def save_comparison(
    sides: "Sequence[Mapping[str, LanguageRouting]]", found: "Comparison", output: Path
) -> None:
    """Writes what differs between two checkpoints as JSON and as a picture."""
    from parrot_core.inspection import comparison_as_json

    written = [_write_json(output / "comparison.json", comparison_as_json(found))]
    _say([*written, *charts.draw_comparison(sides, found, output / "comparison")])


def _save_words(found: "Inspection", output: Path) -> list[Path]:
    words = found.words or {}
    experts = range(1, len(found.usage) + 1)
    names = ["language", "word", "attention", "fair_share", "images", "favours"]
    path = _write_csv(
        output / "words.csv",
        [*names, *(f"pull_{expert}" for expert in experts)],
        (
            [code, w.word, w.attention, w.fair, w.images, w.favours + 1, *w.pull]
            for code, entries in words.items()
            for w in entries
        ),
    )
    return [path, *charts.draw_words(words, output / "words")]


def _save_ablation(ablation: "Mapping[str, Ablation]", output: Path) -> list[Path]:
    rows = (
        [code, off, score.loss, score.accuracy, entry.count, entry.tokens]
        for code, entry in ablation.items()
        for off, score in [
            ("none", entry.whole),
            *((str(expert), score) for expert, score in enumerate(entry.without, 1)),
            ("all", entry.bare),
        ]
    )
    names = ["language", "switched_off", "loss", "accuracy", "answers", "tokens"]
    path = _write_csv(output / "ablation.csv", names, rows)
    return [path, *charts.draw_ablation(ablation, output / "ablation")]


def _save_tokens(maps: "Mapping[str, TokenMap]", output: Path) -> list[Path]:
    rows = (
        [code, kind, x, y]
        for code, entry in maps.items()
        for kind, places in [
            ("before", entry.before),
            ("after", entry.after),
            ("text", entry.text),
        ]
        for x, y in places
    )
    path = _write_csv(output / "tokens.csv", ["language", "kind", "x", "y"], rows)
    return [path, *charts.draw_tokens(maps, output / "tokens")]


def _write_json(path: Path, value: Any) -> Path:  # noqa: ANN401 - whatever JSON holds
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def _say(written: Sequence[Path]) -> None:
    names = ", ".join(path.name for path in written)
    note(f"wrote to {written[0].parent}: {names}")
