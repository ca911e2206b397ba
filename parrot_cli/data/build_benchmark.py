"""`parrot data build-benchmark`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from parrot_cli.data.translation_options import Options, prepare, with_options
from parrot_cli.data.translation_report import (
    end,
    print_estimate,
    print_report,
    run_shown,
)

if TYPE_CHECKING:
    from parrot_core.benchmarks.building import Selection


@with_options
def build_benchmark(
    files: Annotated[
        list[Path], typer.Argument(help="English TSV files (ScienceQA, MME, SEED-Bench, any).")
    ],
    name: Annotated[str, typer.Option(help="First part of the tables' names.")],
    options: Options,
    form: Annotated[str, typer.Option(help="yes-no (pairs, section 2.4) or choice.")] = "yes-no",
    per_category: Annotated[
        int | None, typer.Option(min=1, help="Most entries of a category.", show_default="all")
    ] = None,
    exclude_category: Annotated[
        list[str] | None, typer.Option(help="A category to leave out; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the draws depend on.")] = 0,
    on_flag: Annotated[
        str, typer.Option(help="Entries with flags: drop (from all languages), review or keep.")
    ] = "drop",
) -> None:
    """Make a multilingual benchmark of English questions.

    It asks the same in all languages (section 2.3). Questions without a picture, about code or
    about English words are left out, categories are balanced, and what remains is translated like
    training data. Run it again to go on.
    """
    from parrot_core.benchmarks.building import select, table_files, write_source, write_tables
    from parrot_core.benchmarks.registry import read_tables
    from parrot_core.data.records import keep_sources

    selection = select(
        read_tables(dict.fromkeys(files, "en")),
        form=form,
        per_category=per_category,
        exclude=exclude_category or (),
        seed=seed,
    )
    work = prepare(options, source_language="en", on_flag=on_flag)
    outputs = table_files(options.out, name=name, languages=["en", *work.languages])
    keep_sources(files, outputs.values())
    if options.dry_run:
        with TemporaryDirectory() as scratch:
            source = Path(scratch) / f"{name}.source.jsonl"
            write_source(selection, source)
            print_estimate(source, options.out, work, as_json=options.as_json)
        return
    source = options.out / f"{name}.source.jsonl"
    write_source(selection, source)
    report = run_shown(source, options.out, work)
    if not report.complete:
        print_report(report, options.out, as_json=options.as_json)
    end(report, options.out)
    tables = write_tables(
        selection, options.out, name=name, source_language="en", languages=work.languages
    )
    _print_selection(selection, tables, as_json=options.as_json)


def _print_selection(selection: "Selection", tables: dict[str, Path], *, as_json: bool) -> None:
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.benchmarks.building import DROPPED
    from parrot_core.benchmarks.tsv import read_records

    rows = sum(1 for _ in read_records(tables["en"]))
    if as_json:
        print_json(
            {
                "entries": len(selection.entries),
                "rows": rows,
                "dropped": dict(selection.dropped),
                "categories": dict(selection.categories),
                "tables": {code: str(path) for code, path in tables.items()},
            }
        )
        return
    print_table(("category", "entries"), sorted(selection.categories.items()))
    for reason, count in selection.dropped.most_common():
        print_line(f"left out {count:,}: {DROPPED[reason]}")
    print_line(f"{rows:,} rows in each of {len(tables)} languages:")
    for path in tables.values():
        print_line(f"  {path}")
