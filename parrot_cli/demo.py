"""`parrot demo`: the whole way, small, from pictures and text to scores, answers and routing."""

import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_cli.output import (
    library_output_to_stderr,
    note,
    print_line,
    print_table,
    progress_bar,
    quieten_libraries,
)
from parrot_core.data.cache import CACHE_VARIABLE, default_cache
from parrot_core.languages import LANGUAGES

if TYPE_CHECKING:
    from parrot_core.benchmarks.report import Report
    from parrot_core.recipe import Recipe

BENCHMARKS = {"naming": "emoji-naming", "yes_no_pairs": "emoji-yesno"}
SHOWN_PICTURES = 12
TURKISH_QUESTION = "Bu nedir?"


@dataclass
class _Run:
    """What the steps have found so far."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announces a step, and takes its time."""
        note(f"── {name}")
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 1)
        note(f"   {self.seconds[name]:.0f} s")


def demo(
    *,
    recipe: Annotated[Path, typer.Option(help="The recipe.")] = Path("recipes/tiny.toml"),
    output: Annotated[Path, typer.Option(help="Folder for everything.")] = Path("runs/demo"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value: overrides a value of the recipe; repeatable."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar=CACHE_VARIABLE,
            help="Folder of fetched packages.",
            show_default="the user's cache folder",
        ),
    ] = None,
) -> None:
    """Train, score, ask and inspect a small Parrot in one go.

    Makes the picture-text set, trains both stages, scores six languages on an art style that
    training never saw, asks about pictures, and shows which expert worked. What was found is in
    `report.json`, for people in `report.md`.
    """
    from parrot_core.recipe import load_recipe

    settings = load_recipe(
        recipe, overrides=[*(overrides or ()), f'data.folder="{(output / "data").as_posix()}"']
    )
    run = _Run()
    with library_output_to_stderr():
        quieten_libraries()
        report = _all_steps(settings, run, output, cache or default_cache())
    (output / "report.json").write_text(
        json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8"
    )
    (output / "report.md").write_text(_as_markdown(report, output), encoding="utf-8")
    _print_report(report, output)


def _all_steps(settings: "Recipe", run: _Run, output: Path, cache: Path) -> dict[str, Any]:
    with run.step("data"):
        manifest = _make_data(settings, output / "data", cache)
    for stage in (1, 2):
        with run.step(f"stage {stage}"):
            _train(settings, stage, output / f"stage{stage}")
    checkpoint = output / "stage2"
    reports = {}
    with run.step("evaluation"):
        for form, benchmark in BENCHMARKS.items():
            reports[form] = _evaluate(checkpoint, benchmark, output)
    with run.step("free answers"):
        answers = _ask_about_pictures(checkpoint, output / "data", settings)
    routing: dict[str, Any] = {"routing": {}}
    if settings.model.experts.enabled:
        with run.step("routing"):
            routing = _inspect(checkpoint, output)
    return {
        "accuracy": _accuracy(reports, settings),
        "seconds": run.seconds,
        "seed": settings.seed,
        "held_out_style": manifest["styles"]["test"],
        "chance": {"naming": 0.25, "yes_no_pairs": 0.25},
        "answered_by": {form: report.prompt["answer_by"] for form, report in reports.items()},
        "free_answers": answers,
        **routing,
    }


def _make_data(settings: "Recipe", folder: Path, cache: Path) -> dict[str, Any]:
    from parrot_core.data.emoji.build import build_demo
    from parrot_core.data.emoji.settings import DemoSettings

    with progress_bar("pictures") as show:
        made = build_demo(
            folder,
            cache=cache,
            settings=DemoSettings(languages=settings.languages),
            progress=lambda done, total: show(done, total, ""),
        )
    return made.manifest


def _train(settings: "Recipe", stage: int, folder: Path) -> None:
    from parrot_core.training import Progress, train_stage

    with progress_bar(f"stage {stage}") as show:

        def on_progress(progress: Progress) -> None:
            loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
            show(progress.step, progress.steps, loss)

        cut_off = not (folder / "run.json").is_file()
        train_stage(settings, stage, output=folder, resume=cut_off, on_progress=on_progress)


def _evaluate(checkpoint: Path, benchmark: str, output: Path) -> "Report":
    from parrot_cli.eval.models import load_answerer
    from parrot_core.benchmarks.runner import Settings, run

    with progress_bar(benchmark) as show:
        return run(
            benchmark,
            load_answerer(str(checkpoint), batch_size=64, max_new_tokens=16, device=None),
            output=output / "eval" / benchmark,
            settings=Settings(
                data_root=output / "data" / "benchmarks",
                on_progress=lambda done, total: show(done, total, ""),
            ),
        )


def _ask_about_pictures(checkpoint: Path, data: Path, settings: "Recipe") -> list[dict[str, Any]]:
    """Asks what a dozen held-out pictures show, in every language."""
    from parrot_core.data.emoji.wording import load_wording
    from parrot_core.data.images import load_image
    from parrot_core.generation import answer, ask, load_for_use

    manifest = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    concepts = json.loads((data / "concepts.json").read_text(encoding="utf-8"))
    shown = random.Random(settings.seed).sample(concepts, SHOWN_PICTURES)
    wording = load_wording(settings.languages)
    parts = load_for_use(checkpoint)
    found = []
    for concept in shown:
        path = f"images/{manifest['styles']['test']}/{concept['codepoints']}.png"
        picture = load_image(path, root=data)
        chats = [
            ask(wording[code].naming[0], images=[picture], language=code)
            for code in settings.languages
        ]
        replies = answer(*parts, chats, max_new_tokens=16)
        found.append(
            {
                "image": str(data / path),
                "expected": {code: concept["names"][code] for code in settings.languages},
                "answers": {
                    code: reply.text
                    for code, reply in zip(settings.languages, replies, strict=True)
                },
            }
        )
    return found


def _inspect(checkpoint: Path, output: Path) -> dict[str, Any]:
    """Routes the naming questions of every language, which training never saw."""
    from parrot_cli.inspect_experts.files import save_inspection
    from parrot_core.generation import load_for_use
    from parrot_core.inspection import data_conversations, inspect

    tables = sorted((output / "data" / "benchmarks").glob("emoji_naming_*.tsv"))
    found = inspect(*load_for_use(checkpoint), data_conversations(tables))
    save_inspection(found, output)
    return {"routing": found.means, "language_told_by_routing": found.language_told}


def _accuracy(reports: "dict[str, Report]", settings: "Recipe") -> dict[str, Any]:
    return {
        code: {
            form: {
                "value": entry.value,
                "low": entry.low,
                "high": entry.high,
                "n": entry.n,
                "unreadable": entry.unreadable.value,
            }
            for form, entry in ((form, report.languages[code]) for form, report in reports.items())
        }
        for code in settings.languages
    }


def _rows(report: dict[str, Any]) -> list[list[str]]:
    return [
        [
            LANGUAGES[code].name,
            *(_with_interval(figures[form]) for form in BENCHMARKS),
        ]
        for code, figures in report["accuracy"].items()
    ]


def _with_interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.0%} ({figure['low']:.0%}–{figure['high']:.0%})"


_COLUMNS = ["language", "4-way naming (95 % interval)", "Yes/No pairs (95 % interval)"]
_HOW = (
    "Naming: of four names, the one that is the likeliest answer to the bare question. Yes/No: the "
    "answer that the model writes; a pair counts if both of its answers are right."
)


def _print_report(report: dict[str, Any], output: Path) -> None:
    from parrot_cli.inspect_experts.display import print_histogram

    if report["routing"]:
        print_histogram(report["routing"])
    style = report["held_out_style"]
    title = f"Pictures in the style of {style}, never seen in training; chance is 25 %"
    print_table(_COLUMNS, _rows(report), title=title)
    note(_HOW)
    first = report["free_answers"][0]
    print_line(f"{first['image']}: {TURKISH_QUESTION} {first['answers'].get('tr', '')}")
    if "language_told_by_routing" in report:
        print_line(f"language told by the routing alone: {report['language_told_by_routing']:.0%}")
    seconds = sum(report["seconds"].values())
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    print_line(f"{seconds / 60:.1f} minutes: {spent}")
    print_line(f"Everything lies in {output}: report.md, report.json, routing.png, stage2, eval")
    program = "parrot" if shutil.which("parrot") else sys.argv[0]  # make puts it on no path
    print_line(f'Go on: {program} chat {first["image"]} --lang tr --prompt "{TURKISH_QUESTION}"')


def _as_markdown(report: dict[str, Any], output: Path) -> str:
    """The report for people, who see its pictures if they read it where it lies."""
    lines = [
        "# A small Parrot, trained on this machine",
        "",
        f"Held-out art style: {report['held_out_style']}. Seed: {report['seed']}. Chance: 25 %.",
        _HOW,
        "",
        _markdown_row(_COLUMNS),
        _markdown_row(["---"] * len(_COLUMNS)),
        *(_markdown_row(row) for row in _rows(report)),
        "",
        "## What do these pictures show?",
        "",
        "Each question was asked in its own language; what is expected stands in brackets where "
        "the answer differs.",
        "",
    ]
    codes = list(report["accuracy"])
    lines += [_markdown_row(["picture", *codes]), _markdown_row(["---"] * (len(codes) + 1))]
    for entry in report["free_answers"]:
        picture = Path(entry["image"]).relative_to(output).as_posix()
        cells = [f"![{entry['expected']['en']}]({picture})"]
        for code in codes:
            said, expected = entry["answers"][code], entry["expected"][code]
            cells.append(said if said == expected else f"{said} ({expected})")
        lines.append(_markdown_row(cells))
    if report["routing"]:
        lines += [
            "",
            "## Which expert answered",
            "",
            "Mean routing weights of the naming questions, by language.",
            "",
            "![routing weights by language](routing.png)",
        ]
    lines += ["", "## Seconds", ""]
    lines += [f"- {name}: {seconds:.0f}" for name, seconds in report["seconds"].items()]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
