"""`parrot data build-benchmark`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.data.translation_options import dearest, known_price, make_settings, make_worker
from parrot_cli.data.translation_report import run_shown


def build_benchmark(
    files: Annotated[
        list[Path], typer.Argument(help="English TSV files (ScienceQA, MME, SEED-Bench, any).")
    ],
    name: Annotated[str, typer.Option(help="First part of the tables' names.")],
    to: Annotated[str, typer.Option(help="Languages to translate into, e.g. zh,pt,ar,tr,ru.")],
    out: Annotated[Path, typer.Option(help="Folder of journal and tables.")],
    form: Annotated[str, typer.Option(help="yes-no (pairs, section 2.4) or choice.")] = "yes-no",
    per_category: Annotated[
        int | None, typer.Option(min=1, help="Most entries of a category. [default: all]")
    ] = None,
    exclude_category: Annotated[
        list[str] | None, typer.Option(help="A category to leave out; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the draws depend on.")] = 0,
    backend: Annotated[str, typer.Option(help="Who translates: openai or local.")] = "openai",
    model: Annotated[str, typer.Option(help="The model's name, or folder for local.")] = "gpt-4o",
    base_url: Annotated[str, typer.Option(help="Endpoint.")] = "https://api.openai.com/v1",
    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    steps: Annotated[
        str | None,
        typer.Option(
            help="As in `parrot data translate`: e.g. draft,recheck,refine:human,vote:human."
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Independent refinements.")] = 3,
    voters: Annotated[int, typer.Option(min=1, help="Votes on each segment.")] = 1,
    prompts: Annotated[Path | None, typer.Option(help="Folder with own prompts.")] = None,
    glossary: Annotated[Path | None, typer.Option(help="CSV or TSV of terms.")] = None,
    on_flag: Annotated[
        str, typer.Option(help="Entries with flags: drop (from all languages), review or keep.")
    ] = "drop",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 8,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Dollars the job may cost, all runs together.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="Dollars per million tokens in,out. [default: list price]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Make a multilingual benchmark of English questions (section 2.3), the same in all languages.

    Questions without a picture, about code or about English words are left out, categories are
    balanced, and what remains is translated like training data. Run it again to go on.
    """
    from parrot_cli.output import note, print_json, print_line, print_table
    from parrot_core.languages import parse_languages
    from parrot_core.translation import Limits
    from parrot_core.translation.benchmark import (
        DROPPED,
        read_items,
        select,
        write_source,
        write_tables,
    )

    selection = select(
        read_items(files),
        form=form,
        per_category=per_category,
        exclude=exclude_category or (),
        seed=seed,
    )
    languages = parse_languages(to)
    settings = make_settings(
        steps or ("draft" if backend == "local" else "draft,recheck,refine,vote"),
        model=model,
        source_language="en",
        step_models=[],
        prompts=prompts,
        glossary=glossary,
        numbers={"candidates": candidates, "voters": voters},
        on_flag=on_flag,
    )
    tokens_price = known_price(price, model=model, backend=backend, step_models={})
    if tokens_price is None and max_cost is not None:
        tokens_price = dearest(model)
    source = out / f"{name}.source.jsonl"
    write_source(selection, source)
    worker = make_worker(
        backend,
        model=model,
        base_url=base_url,
        key=os.environ.get(key_variable) or None,
        price=tokens_price,
    )
    report = run_shown(
        source,
        out,
        languages=languages,
        worker=worker,
        settings=settings,
        limits=Limits(
            concurrency=concurrency,
            max_cost=None if max_cost is None else round(max_cost * 1e9),
        ),
    )
    if not report.complete:
        for code, part in report.languages.items():
            note(f"{code}: {part.missing} entries without a translation, {part.waiting} wait")
        raise typer.Exit(1)
    tables = write_tables(selection, out, name=name, source_language="en", languages=languages)
    written = sum(1 for _ in read_items([tables["en"]]))
    if as_json:
        print_json(
            {
                "entries": len(selection.entries),
                "rows": written,
                "dropped": dict(selection.dropped),
                "categories": dict(selection.categories),
                "tables": {code: str(path) for code, path in tables.items()},
            }
        )
        return
    print_table(("category", "entries"), sorted(selection.categories.items()))
    for reason, count in selection.dropped.most_common():
        print_line(f"left out {count:,}: {DROPPED[reason]}")
    print_line(f"{written:,} rows in each of {len(tables)} languages: {out / name}_*.tsv")
