"""`parrot data translate`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.data.translation_options import dearest, known_price, make_settings, make_worker
from parrot_cli.data.translation_report import print_estimate, print_report, run_shown

_UNFINISHED = 1


def translate(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="JSON or JSONL file of LLaVA samples.")
    ],
    to: Annotated[str, typer.Option(help="Languages to translate into, e.g. zh,pt,ar,tr,ru.")],
    out: Annotated[Path, typer.Option(help="Folder of journal and results.")],
    backend: Annotated[
        str, typer.Option(help="Who translates: openai (any compatible endpoint) or local.")
    ] = "openai",
    model: Annotated[str, typer.Option(help="The model's name, or folder for local.")] = "gpt-4o",
    base_url: Annotated[
        str, typer.Option(help="Endpoint, e.g. http://localhost:8000/v1.")
    ] = "https://api.openai.com/v1",
    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    source_language: Annotated[str, typer.Option("--from", help="Language of the samples.")] = "en",
    steps: Annotated[
        str | None,
        typer.Option(
            help="Steps of Figure 3; STEP:human lets people do one (see `parrot data review`). "
            "[default: draft,recheck,refine,vote; for local: draft]"
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Independent refinements.")] = 3,
    voters: Annotated[int, typer.Option(min=1, help="Votes on each segment.")] = 1,
    step_model: Annotated[
        list[str] | None, typer.Option(help="Another model for one step, e.g. vote=gpt-4o-mini.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder with own draft.toml, recheck.toml, …")
    ] = None,
    glossary: Annotated[
        Path | None, typer.Option(help="CSV or TSV of terms, one column per language.")
    ] = None,
    with_image: Annotated[
        bool, typer.Option("--with-image", help="Show the model each sample's first picture.")
    ] = False,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder of the pictures. [default: the file's own]")
    ] = None,
    on_flag: Annotated[
        str, typer.Option(help="Samples with flags: keep, drop, or review (wait for people).")
    ] = "keep",
    attempts: Annotated[
        int, typer.Option(min=1, help="Answers with faults before the best of them is taken.")
    ] = 4,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 8,
    rpm: Annotated[float | None, typer.Option(min=0.1, help="Requests per minute.")] = None,
    tpm: Annotated[float | None, typer.Option(min=1, help="Tokens per minute.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Dollars the whole job may cost, all runs together.")
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=0, help="Requests this run may make.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="Dollars per million tokens in,out. [default: list price]")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 120.0,
    parameters: Annotated[
        str | None, typer.Option(help='JSON over the request\'s, e.g. {"temperature": null}.')
    ] = None,
    token_limit: Annotated[
        str, typer.Option(help="Name of the parameter that limits an answer.")
    ] = "max_tokens",
    device: Annotated[str, typer.Option(help="Device of a local model.")] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate what is left to ask, pay and wait.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Translate samples: draft, re-check, independent refinements, vote. Resumable at any moment.

    Every answer is kept in OUT/journal.sqlite before anything else happens; run the same command
    again to go on. Results are OUT/LANGUAGE.json and OUT/summary.json.
    """
    from parrot_cli.output import note
    from parrot_core.languages import get_language, parse_languages
    from parrot_core.translation import Limits

    languages = parse_languages(to)
    from_language = get_language(source_language).code
    settings = make_settings(
        steps or ("draft" if backend == "local" else "draft,recheck,refine,vote"),
        model=model,
        source_language=from_language,
        step_models=step_model or [],
        prompts=prompts,
        glossary=glossary,
        numbers={"candidates": candidates, "voters": voters, "attempts": attempts},
        on_flag=on_flag,
    )
    tokens_price = known_price(
        price, model=model, backend=backend, step_models=settings.step_models
    )
    limits = Limits(
        concurrency=concurrency,
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
        max_cost=None if max_cost is None else round(max_cost * 1e9),
        max_requests=max_requests,
    )
    root = (image_root or source.parent) if with_image else None
    if tokens_price is None and max_cost is not None and not dry_run:
        tokens_price = dearest(model)
    worker = make_worker(
        backend,
        model=model,
        base_url=base_url,
        key=os.environ.get(key_variable) or None,
        timeout=timeout,
        price=tokens_price,
        parameters=parameters,
        token_limit=token_limit,
        device=device,
        asked=not dry_run,
    )
    if dry_run:
        print_estimate(
            source,
            out,
            languages=languages,
            settings=settings,
            limits=limits,
            price=tokens_price,
            worker=worker,
            image_root=root,
            as_json=as_json,
        )
        return
    report = run_shown(
        source,
        out,
        languages=languages,
        worker=worker,
        settings=settings,
        limits=limits,
        image_root=root,
    )
    print_report(report, out, as_json=as_json)
    if report.unanswered:
        from parrot_core.errors import RemoteError

        reasons = ", ".join(f"{count} × {reason}" for reason, count in report.unanswered.items())
        raise RemoteError(
            f"{sum(report.unanswered.values())} segments were not answered ({reasons}); "
            f"the last: {report.said}",
            hint="What was answered is kept: run it again to go on.",
        )
    if not report.complete:
        if report.stopped is not None:
            note(f"stopped: {report.stopped}; raise the cap and run it again to go on")
        raise typer.Exit(_UNFINISHED)
