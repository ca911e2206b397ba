"""`parrot data translate`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from parrot_core.translation import JobReport, Limits, Progress, Settings
    from parrot_core.translation.costs import Price
    from parrot_core.translation.workers import Worker

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
        bool, typer.Option("--dry-run", help="Only estimate requests, tokens, cost and time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Translate samples: draft, re-check, independent refinements, vote. Resumable at any moment.

    Every answer is kept in OUT/journal.sqlite before anything else happens; run the same command
    again to go on. Results are OUT/LANGUAGE.json and OUT/summary.json.
    """
    from parrot_cli.output import live_line, note
    from parrot_core.languages import get_language, parse_languages
    from parrot_core.translation import Limits
    from parrot_core.translation import translate as run_job

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
    if dry_run:
        _estimate(
            source,
            out,
            languages=languages,
            settings=settings,
            limits=limits,
            price=tokens_price,
            backend=backend,
            image_root=root,
            as_json=as_json,
        )
        return
    if tokens_price is None and max_cost is not None:
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
    )
    with live_line() as show:
        report = run_job(
            source,
            out,
            languages=languages,
            worker=worker,
            settings=settings,
            limits=limits,
            image_root=root,
            on_progress=lambda progress: show(line(progress)),
        )
    _print_report(report, out, as_json=as_json)
    if report.unanswered:
        from parrot_core.errors import RemoteError

        reasons = ", ".join(f"{count} × {reason}" for reason, count in report.unanswered.items())
        raise RemoteError(
            f"{sum(report.unanswered.values())} segments were not answered ({reasons})",
            hint="What was answered is kept: run it again to go on.",
        )
    if not report.complete:
        if report.stopped is not None:
            note(f"stopped: {report.stopped}; raise the cap and run it again to go on")
        raise typer.Exit(_UNFINISHED)


def make_settings(
    steps: str,
    *,
    model: str,
    source_language: str,
    step_models: list[str],
    prompts: Path | None,
    glossary: Path | None,
    numbers: dict[str, int],
    on_flag: str,
) -> "Settings":
    """Returns how segments are translated, as the options say."""
    from parrot_core.errors import UsageError
    from parrot_core.translation import Settings
    from parrot_core.translation.glossary import Glossary, read_glossary
    from parrot_core.translation.prompts import STEPS, load_prompts

    names, human = [], set()
    for part in steps.split(","):
        name, _, who = part.strip().partition(":")
        if who not in ("", "human", "llm"):
            raise UsageError(f"no such worker: {part!r}", hint="A step is NAME or NAME:human.")
        names.append(name)
        if who == "human":
            human.add(name)
    models = {}
    for pair in step_models:
        step, _, name = pair.partition("=")
        if step not in STEPS or not name:
            raise UsageError(f"--step-model {pair!r}", hint="Give e.g. vote=gpt-4o-mini.")
        models[step] = name
    read = Glossary()
    if glossary is not None:
        read = read_glossary(glossary, source_language=source_language)
    return Settings(
        prompts=load_prompts(prompts),
        model=model,
        source_language=source_language,
        steps=tuple(names),
        human=frozenset(human),
        step_models=models,
        glossary=read,
        on_flag=on_flag,
        **numbers,
    )


def known_price(
    price: str | None, *, model: str, backend: str, step_models: Mapping[str, str]
) -> "Price | None":
    """Returns what tokens cost by the option or the list, or None."""
    from parrot_core.translation.costs import Price, list_price, parse_price

    if price is not None:
        return parse_price(price)
    if backend == "local":
        return Price(prompt=0.0, completion=0.0)
    prices = [list_price(name) for name in (model, *step_models.values())]
    known = [found for found in prices if found is not None]
    # One price for all steps: the dearest, so that a cap holds.
    return max(known, key=lambda found: found.completion) if len(known) == len(prices) else None


def dearest(model: str) -> "Price":
    """Warns that a price is not known, and returns the dearest, so that a cap holds."""
    from parrot_cli.output import note
    from parrot_core.translation.costs import DEAREST

    note(
        f"warning: the price of {model!r} is not known; so that --max-cost holds, it is taken to "
        f"be ${DEAREST.prompt:g} and ${DEAREST.completion:g} per million tokens (give --price)"
    )
    return DEAREST


def make_worker(
    backend: str,
    *,
    model: str,
    base_url: str,
    key: str | None,
    price: "Price | None",
    timeout: float = 120.0,
    parameters: str | None = None,
    token_limit: str = "max_tokens",
    device: str = "cpu",
) -> "Worker":
    """Returns who translates, as the options say."""
    from parrot_core.errors import UsageError

    if backend == "local":
        from parrot_core.translation.local import LocalWorker

        return LocalWorker(model, device=device)
    if backend != "openai":
        raise UsageError(f"no such backend: {backend!r}", hint="Backends: openai, local.")
    from parrot_core.translation.chat_api import ChatWorker, Endpoint

    try:
        own = {} if parameters is None else json.loads(parameters)
    except json.JSONDecodeError as error:
        raise UsageError(f"--parameters is not JSON: {error}", hint="Quote the object.") from error
    if not isinstance(own, dict) or own.keys() & {"model", "messages"}:
        raise UsageError(
            "--parameters is no object of parameters",
            hint='Give e.g. \'{"temperature": null, "top_p": 0.9}\'.',
        )
    return ChatWorker(
        Endpoint(base_url=base_url, key=key, timeout=timeout),
        price=price,
        parameters=own,
        token_limit=token_limit,
    )


def line(progress: "Progress") -> str:
    """One line of progress: how far, how fast, what it cost, how long yet, what failed."""
    from parrot_core.translation.costs import dollars

    settled = progress.done + progress.pending + progress.failed
    rate = progress.answers / progress.seconds if progress.seconds else 0.0
    parts = [
        f"{settled:,}/{progress.total:,} segments",
        f"{rate:.1f} answers/s",
        dollars(progress.cost),
    ]
    if progress.pending:
        parts.append(f"{progress.pending:,} wait for people")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    if progress.failures:
        parts.append(
            "failed requests: "
            + ", ".join(f"{count} × {why}" for why, count in progress.failures.most_common(5))
        )
    return " · ".join(parts)


def _estimate(
    source: Path,
    out: Path,
    *,
    languages: list[str],
    settings: "Settings",
    limits: "Limits",
    price: "Price | None",
    backend: str,
    image_root: Path | None,
    as_json: bool,
) -> None:
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.costs import dollars
    from parrot_core.translation.estimate import estimate

    found = estimate(
        source,
        languages=languages,
        settings=settings,
        limits=limits,
        price=price,
        image_root=image_root,
        local=backend == "local",
    )
    if as_json:
        print_json(found.as_dict())
        return
    print_table(
        ("step", "requests", "tokens in", "tokens out"),
        [
            (step, part.requests, part.prompt_tokens, part.completion_tokens)
            for step, part in found.steps.items()
        ],
        title=f"{found.segments:,} segments, {found.unique:,} different ones; nothing was asked",
    )
    cost = "not known (give --price)" if found.cost is None else f"about {dollars(found.cost)}"
    print_line(f"cost: {cost}")
    print_line(f"time: about {found.seconds / 60:,.0f} min at {found.seconds_per_request:g} s each")
    if (out / "journal.sqlite").exists():
        print_line(f"what {out / 'journal.sqlite'} holds already will not be asked again")


def _print_report(report: "JobReport", out: Path, *, as_json: bool) -> None:
    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.translation.costs import dollars

    spending = report.spending
    if as_json:
        print_json(
            {
                "complete": report.complete,
                "stopped": report.stopped,
                "languages": {code: part.as_dict() for code, part in report.languages.items()},
                "this_run": {
                    "answers": report.answers,
                    "seconds": round(report.seconds, 3),
                    "failed_requests": report.failures,
                    "unanswered_segments": report.unanswered,
                    "unusable_segments": report.unusable,
                    "waiting_for_people": report.pending,
                },
                "all_runs": {
                    "answers": spending.requests,
                    "prompt_tokens": spending.prompt_tokens,
                    "completion_tokens": spending.completion_tokens,
                    "dollars": spending.cost / 1e9,
                    "answers_without_price": spending.without_price,
                },
            }
        )
        return
    print_table(
        ("language", "samples", "flagged", "dropped", "waiting", "missing", "flags"),
        [
            (
                code,
                part.samples,
                part.flagged,
                part.dropped,
                part.waiting,
                part.missing,
                ", ".join(f"{count} {kind}" for kind, count in sorted(part.flags.items())) or "–",
            )
            for code, part in report.languages.items()
        ],
    )
    cost = dollars(spending.cost) + (
        f" and {spending.without_price:,} answers of unknown price"
        if spending.without_price
        else ""
    )
    print_line(
        f"{report.answers:,} answers in this run, {spending.requests:,} in all; cost of the job: "
        f"{cost} ({spending.prompt_tokens:,} tokens in, {spending.completion_tokens:,} out)"
    )
    for text, counts in (
        ("failed requests", report.failures),
        ("segments without a usable answer", report.unusable),
        ("segments that wait for people", report.pending),
    ):
        if counts:
            listed = ", ".join(f"{count} × {reason}" for reason, count in counts.items())
            print_line(f"{text}: {listed}")
    print_line(f"results: {out}")
