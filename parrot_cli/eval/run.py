"""`parrot eval`."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parrot_core.errors import UsageError

if TYPE_CHECKING:
    from parrot_cli.eval.translation import JournalTranslator
    from parrot_core.benchmarks import Answerer, Report
    from parrot_core.benchmarks.answers import Share
    from parrot_core.benchmarks.endpoint import Endpoint


def evaluate(
    context: typer.Context,
    *,
    model: Annotated[
        str | None,
        typer.Option(help="Checkpoint folder, hub name, or the model's name at --url."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible endpoint: http://localhost:8000/v1.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score these answers (TSV, XLSX, JSONL); no model is run.")
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="Name of a benchmark, as mmmb.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="TSV file of VLMEvalKit's columns, a folder of them, or a pattern."),
    ] = None,
    data_root: Annotated[
        Path, typer.Option(help="Folder of the named benchmarks' tables.", envvar="LMUData")
    ] = Path("data/benchmarks"),
    download: Annotated[
        bool, typer.Option("--download", help="Fetch tables that are missing, where published.")
    ] = False,
    lang: Annotated[
        str | None,
        typer.Option(help="tr,ar or all, which is every language there is.", show_default="all"),
    ] = None,
    scorer: Annotated[
        str, typer.Option(help="multilingual, vlmevalkit or vlmevalkit-2024-08.")
    ] = "multilingual",
    form: Annotated[
        str | None, typer.Option(help="How it is scored.", show_default="what the table shows")
    ] = None,
    prompt_style: Annotated[
        str | None,
        typer.Option(help="parrot, vlmevalkit or plain.", show_default="the benchmark's"),
    ] = None,
    answer_by: Annotated[
        str | None,
        typer.Option(
            help="Options are answered in text, which is read, or by their likelihood.",
            show_default="the benchmark's",
        ),
    ] = None,
    prompt_language: Annotated[
        str, typer.Option(help="Language of the instructions: native or english.")
    ] = "native",
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run.", show_default="runs/eval/…")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …")] = None,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder that image_path is relative to.")
    ] = None,
    share: Annotated[
        str, typer.Option(help="This process's part of the work: 2/4 is the second of four.")
    ] = "1/1",
    judge_url: Annotated[str | None, typer.Option(help="Endpoint of the judge.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge, pinned by name.")] = None,
    via_translation: Annotated[
        bool,
        typer.Option("--via-translation", help="Ask in English, by way of translation (Table 10)."),
    ] = False,
    translation_backend: Annotated[
        str, typer.Option(help="Who translates: openai (any compatible endpoint) or local.")
    ] = "openai",
    translation_model: Annotated[
        str | None, typer.Option(help="Model that translates; a folder or hub name for local.")
    ] = None,
    translation_url: Annotated[
        str | None, typer.Option(help="Endpoint that translates.", show_default="--url")
    ] = None,
    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the endpoints' key.")
    ] = "OPENAI_API_KEY",
    published: Annotated[
        bool, typer.Option(help="Show the paper's published figures beside.")
    ] = False,
    charts: Annotated[bool, typer.Option(help="Draw the languages as PNG and SVG.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Have a model answer a benchmark in every language, and score it."""
    if context.invoked_subcommand is not None:
        return
    from parrot_cli.eval.display import show_report
    from parrot_cli.output import live_line, note, print_json
    from parrot_core.benchmarks import Settings, run, score_predictions
    from parrot_core.benchmarks.answers import Share
    from parrot_core.benchmarks.download import fetch_tables
    from parrot_core.benchmarks.export import write_report
    from parrot_core.benchmarks.judge import Judge
    from parrot_core.benchmarks.matching import check_scorer
    from parrot_core.benchmarks.published import published_rows
    from parrot_core.benchmarks.registry import expand_data, get_benchmark
    from parrot_core.benchmarks.runner import UnfinishedError, load_task
    from parrot_core.benchmarks.via_translation import ViaTranslation
    from parrot_core.languages import parse_languages

    if (benchmark is None) == (data is None):
        raise UsageError(
            "name what to evaluate on: either --benchmark or --data",
            hint="For instance: parrot eval --model runs/demo --benchmark mmmb --lang tr,ar.",
        )
    if predictions is None and model is None:
        raise UsageError(
            "no model to evaluate", hint="Name one with --model, or score --predictions."
        )
    if predictions is not None and (model or url):
        raise UsageError(
            "--predictions scores answers that are there; it goes without --model and --url",
            hint="Leave one of them out.",
        )
    if via_translation and (translation_model is None or predictions is not None):
        raise UsageError(
            "--via-translation needs a model to ask and a --translation-model",
            hint="For instance --translation-backend local --translation-model "
            "facebook/nllb-200-distilled-600M.",
        )
    if not via_translation and (translation_model or translation_url):
        raise UsageError(
            "a model to translate with, but nothing to translate", hint="Add --via-translation."
        )
    key = os.environ.get(key_variable)
    target = benchmark if benchmark is not None else expand_data(data or Path())
    languages = None if lang is None or lang.strip().lower() == "all" else parse_languages(lang)
    if download and benchmark is not None:
        known = get_benchmark(benchmark)
        fetch_tables(
            known,
            data_root,
            languages=languages or known.languages,
            on_progress=lambda name: note(f"fetches {name} into {data_root}"),
        )
    judge = None
    if judge_url or judge_model:
        judge = Judge(endpoint=_endpoint(judge_url, judge_model, key, what="judge"))

    settings = Settings(
        data_root=data_root,
        form=form,
        prompt_style=prompt_style,
        prompt_language=prompt_language,
        answer_by=answer_by,
        image_root=image_root,
        share=Share.parse(share),
        judge=judge,
    )
    if predictions is not None:
        report = score_predictions(
            predictions, target, languages=languages, scorer=scorer, settings=settings
        )
        folder = output
    else:
        folder = output or _default_folder(benchmark, data, model)
        # Mistakes in the data show before minutes are spent on loading a model.
        task = load_task(target, languages=languages, settings=settings)
        check_scorer(scorer)
        answerer = _answerer(
            model or "",
            url,
            key=key,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            device=device,
        )
        with ExitStack() as stack:
            if via_translation:
                translator = stack.enter_context(
                    _translator(
                        translation_backend,
                        model=translation_model or "",
                        url=translation_url or url,
                        key=key,
                        device=device,
                        concurrency=batch_size,
                        folder=folder / _translations_name(settings.share),
                    )
                )
                answerer = ViaTranslation(answerer=answerer, translator=translator)
            show = stack.enter_context(live_line())
            watched = replace(
                settings,
                on_progress=lambda done, of: show(f"{done:,} of {of:,} questions answered"),
                on_review=lambda done, of: show(f"{done:,} of {of:,} answers rated"),
            )
            try:
                report = run(task, answerer, scorer=scorer, output=folder, settings=watched)
            except UnfinishedError as unfinished:
                note(unfinished.problem)
                raise typer.Exit(0) from None
            if via_translation:
                note(f"translation took {translator.spent}, all runs together")
    rows = published_rows(report.benchmark) if published else []
    if folder is not None:
        write_report(report, folder, published=rows)
        if charts:
            _draw(report, folder)
    if as_json:
        print_json({**report.as_dict(), "folder": str(folder) if folder else None})
    else:
        show_report(report, published=rows, folder=folder)


def _draw(report: "Report", folder: Path) -> None:
    from parrot_cli.eval.charts import Measured, draw_bars, draw_radar
    from parrot_core.benchmarks.export import describe

    title, caption = f"{report.benchmark}: {report.model}", describe(report)
    figures = {code: Measured.of(e.scores.main.as_dict()) for code, e in report.languages.items()}
    shares = {code: entry.value for code, entry in report.languages.items()}
    for ending in ("png", "svg"):
        draw_bars(
            {report.model: figures},
            folder / f"languages.{ending}",
            title=title,
            caption=caption,
        )
        if len(report.languages) >= 3:
            draw_radar(
                {report.model: shares}, folder / f"radar.{ending}", title=title, caption=caption
            )


def _default_folder(benchmark: str | None, data: Path | None, model: str | None) -> Path:
    what = benchmark or (data.stem if data else "data")
    return Path("runs/eval") / f"{what}-{Path(model or 'model').name}".replace("*", "all")


def _endpoint(url: str | None, model: str | None, key: str | None, *, what: str) -> "Endpoint":
    from parrot_core.benchmarks.endpoint import Endpoint

    if not url or not model:
        raise UsageError(
            f"the {what} needs both the address of its service and the model's name",
            hint="Give both, for instance --url http://localhost:8000/v1 --model NAME.",
        )
    return Endpoint(url=url, model=model, key=key)


def _answerer(
    model: str,
    url: str | None,
    *,
    key: str | None,
    batch_size: int,
    max_new_tokens: int,
    device: str | None,
) -> "Answerer":
    if url is not None:
        from parrot_core.benchmarks.endpoint import EndpointAnswerer

        return EndpointAnswerer(
            endpoint=_endpoint(url, model, key, what="model"),
            max_new_tokens=max_new_tokens,
            concurrency=batch_size,
        )
    from parrot_cli.output import loading

    with loading(Path(model)):
        from parrot_cli.eval.models import load_answerer

        return load_answerer(
            model, batch_size=batch_size, max_new_tokens=max_new_tokens, device=device
        )


def _translator(
    backend: str,
    *,
    model: str,
    url: str | None,
    key: str | None,
    device: str | None,
    concurrency: int,
    folder: Path,
) -> "JournalTranslator":
    from parrot_cli.data.translation_options import make_worker
    from parrot_cli.eval.translation import JournalTranslator
    from parrot_core.translation import Limits
    from parrot_core.translation.chat_api import Endpoint
    from parrot_core.translation.costs import list_prices

    if backend == "openai" and url is None:
        raise UsageError(
            "no address of the service that translates",
            hint="Give --translation-url, for instance http://localhost:8000/v1.",
        )
    worker = make_worker(
        backend,
        model=model,
        endpoint=Endpoint(base_url=url or "", key=key or None),
        prices=list_prices([model]),
        device=device or "cpu",
    )
    return JournalTranslator(worker, folder, model=model, limits=Limits(concurrency=concurrency))


def _translations_name(share: "Share") -> str:
    """One journal for each process that works on the run: only one may write it."""
    return "translations" if share.of == 1 else f"translations.{share.number}-of-{share.of}"
