"""`parrot data review`: the people's part of a translation job."""

from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.program import Program

app = Program(no_args_is_help=True)

_Job = Annotated[Path, typer.Argument(metavar="DIR", help="The --out of `parrot data translate`.")]


@app.callback()
def review() -> None:
    """Hand work to people (Figure 3), and take it back done."""


@app.command("export")
def export_command(
    job: _Job,
    out: Annotated[Path, typer.Option(help="File to write.")],
    step: Annotated[
        str, typer.Option(help="refine, vote, review (what was flagged), draft or recheck.")
    ] = "refine",
    language: Annotated[str | None, typer.Option(help="One language.", show_default="all")] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format", help="csv, jsonl or xliff.", show_default="what the file's name says"
        ),
    ] = None,
    person: Annotated[
        str | None, typer.Option(help="Leave out what this person has done or must not vote on.")
    ] = None,
    source_language: Annotated[str, typer.Option("--from", help="Language of the samples.")] = "en",
) -> None:
    """Write rows that wait for people. Excel opens csv, CAT tools open xliff, scripts jsonl.

    In the column `answer` people write their text, `=` if the translation is right as it is, or,
    in a vote, the number of the best version.
    """
    from parrot_cli.output import note, print_line
    from parrot_core.languages import get_language
    from parrot_core.translation.review import export_work, read_journal, status

    by_name = {".csv": "csv", ".jsonl": "jsonl", ".xlf": "xliff", ".xliff": "xliff"}
    with read_journal(job) as journal:
        count = export_work(
            journal,
            out,
            step=step,
            kind=kind or by_name.get(out.suffix.lower(), out.suffix.lstrip(".")),
            language=None if language is None else get_language(language).code,
            person=person,
            source_language=get_language(source_language).code,
        )
        waiting = {
            other: None
            for parts in status(journal).values()
            for other, part in parts.items()
            if other != step and part.settled < part.tasks
        }
    print_line(f"{count:,} rows to {step}: {out}")
    if not count and waiting:
        note(f"rows wait for another --step: {', '.join(waiting)}")


@app.command("import")
def import_command(
    job: _Job,
    file: Annotated[Path, typer.Argument(help="The exported file, with answers.")],
    person: Annotated[str, typer.Option(help="Who did it.")],
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take rows anew that this person has done before."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Take back what one person did. Exit code 1 if rows are refused, each with line and reason.

    Refused are rows that are stale, foreign, repeated or one's own, rows in which more than the
    answer was changed, and answers that a spreadsheet spoiled or that lost an <image>.
    """
    from dataclasses import asdict

    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.review import import_work, open_journal

    with open_journal(job) as journal:
        report = import_work(journal, file, person=person, replace=replace)
    if as_json:
        print_json(asdict(report))
    else:
        if report.refused:
            print_table(
                ("place", "row", "kind", "why it was refused"),
                [(f"{file}:{r.line}", r.row, r.kind, r.message) for r in report.refused],
            )
        print_line(
            f"{report.accepted:,} rows taken from {person}, {len(report.refused):,} refused, "
            f"{report.empty:,} without an answer"
        )
    raise typer.Exit(1 if report.refused else 0)


@app.command("status")
def status_command(
    job: _Job,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show how far people are, and how well voters agree."""
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.review import read_journal, status

    with read_journal(job) as journal:
        found = status(journal)
    if as_json:
        print_json(
            {
                language: {step: part.as_dict() for step, part in steps.items()}
                for language, steps in found.items()
            }
        )
        return
    if not found:
        print_line("nothing waits for people")
        return
    print_table(
        ("language", "step", "rows", "settled", "ties", "people", "agreement", "Fleiss' kappa"),
        [
            (
                language,
                step,
                part.tasks,
                part.settled,
                part.ties,
                ", ".join(f"{name} {count}" for name, count in sorted(part.people.items())) or "–",
                part.agreement,
                part.kappa,
            )
            for language, steps in found.items()
            for step, part in steps.items()
        ],
    )
