"""The options that translation commands share, and what they stand for."""

import functools
import inspect
import json
import os
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from parrot_core.translation import Limits, Settings
    from parrot_core.translation.chat_api import Endpoint
    from parrot_core.translation.costs import Price
    from parrot_core.translation.workers import Worker

_STEPS = {
    "openai": "draft,recheck,refine,vote",
    "local": "draft",
    "human": "draft,refine,vote",
}
"""What is done by whom, where `--steps` says nothing."""
_MODELS = {"openai": "gpt-4o", "human": "people"}
"""By what, where `--model` says nothing."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Who translates what into what, how, how fast, and for how much: an option each."""

    to: Annotated[
        str, typer.Option(help="Languages to translate into, e.g. zh,pt,ar,tr,ru, or all of these.")
    ]
    out: Annotated[Path, typer.Option(help="Folder of journal and results.")]
    backend: Annotated[
        str, typer.Option(help="Who translates: openai (any compatible endpoint), local or human.")
    ] = "openai"
    model: Annotated[
        str | None,
        typer.Option(help="The model's name, or folder for local.", show_default="openai: gpt-4o"),
    ] = None
    base_url: Annotated[str, typer.Option(help="Endpoint, e.g. http://localhost:8000/v1.")] = (
        "https://api.openai.com/v1"
    )
    key_variable: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = (
        "OPENAI_API_KEY"
    )
    steps: Annotated[
        str | None,
        typer.Option(
            help="Steps of Figure 3; STEP:human lets people do one (see `parrot data review`).",
            show_default="; ".join(f"{who}: {steps}" for who, steps in _STEPS.items()),
        ),
    ] = None
    candidates: Annotated[int, typer.Option(min=1, help="Independent refinements.")] = 3
    voters: Annotated[int, typer.Option(min=1, help="Votes on each segment.")] = 1
    step_model: Annotated[
        list[str] | None, typer.Option(help="Another model for one step, e.g. vote=gpt-4o-mini.")
    ] = None
    prompts: Annotated[
        Path | None, typer.Option(help="Folder with own draft.toml, recheck.toml, …")
    ] = None
    glossary: Annotated[
        Path | None, typer.Option(help="CSV or TSV of terms, one column per language.")
    ] = None
    attempts: Annotated[
        int, typer.Option(min=1, help="Answers with faults before the best of them is taken.")
    ] = 6
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 8
    rpm: Annotated[float | None, typer.Option(min=0.1, help="Requests per minute.")] = None
    tpm: Annotated[float | None, typer.Option(min=1, help="Tokens per minute.")] = None
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Dollars the whole job may cost, all runs together.")
    ] = None
    max_requests: Annotated[int | None, typer.Option(min=0, help="Requests this run may make.")] = (
        None
    )
    price: Annotated[
        list[str] | None,
        typer.Option(
            help="Dollars per million tokens: IN,OUT for all models or MODEL=IN,OUT for one; may "
            "be repeated.",
            show_default="list prices",
        ),
    ] = None
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 120.0
    parameters: Annotated[
        str | None, typer.Option(help='JSON over the request\'s, e.g. {"temperature": null}.')
    ] = None
    token_limit: Annotated[
        str, typer.Option(help="Name of the parameter that limits an answer.")
    ] = "max_tokens"
    device: Annotated[str, typer.Option(help="Device of a local model.")] = "cpu"
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate what is left to ask, pay and wait.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for every field of `Options`, in place of its `options`."""
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["options"]
    hints = get_type_hints(Options, include_extras=True)
    shared = {
        field.name: inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(Options)
    }

    @functools.wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - each option has a type of its own
        options = Options(**{name: given.pop(name) for name in shared})
        command(options=options, **given)

    ordered = [*own.values(), *shared.values()]
    ordered.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    parameters = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in ordered]
    # Where typer looks for the parameters.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the options stand for.

    Attributes:
        languages: Codes of the languages to translate into.
        settings: Steps, models, prompts, glossary.
        limits: How fast and how much may be asked.
        prices: What tokens cost by model, where that is known.
        worker: Who answers.
    """

    languages: list[str]
    settings: "Settings"
    limits: "Limits"
    prices: "dict[str, Price]"
    worker: "Worker"


def prepare(options: Options, *, source_language: str, on_flag: str) -> Work:
    """Reads what the options name, and refuses what makes no sense."""
    from parrot_core.languages import get_language, parse_languages
    from parrot_core.translation import Limits

    settings = _settings(
        options, source_language=get_language(source_language).code, on_flag=on_flag
    )
    prices = _prices(options, settings.models)
    languages = parse_languages(options.to)
    if options.to.strip().lower() == "all":  # the paper's six, of which one is the samples' own
        languages = [code for code in languages if code != settings.source_language]
    return Work(
        languages=languages,
        settings=settings,
        limits=Limits(
            concurrency=options.concurrency,
            requests_per_minute=options.rpm,
            tokens_per_minute=options.tpm,
            max_cost=None if options.max_cost is None else round(options.max_cost * 1e9),
            max_requests=options.max_requests,
        ),
        prices=prices,
        worker=_worker(options, settings, prices),
    )


def _settings(options: Options, *, source_language: str, on_flag: str) -> "Settings":
    from parrot_core.errors import UsageError
    from parrot_core.translation import Settings
    from parrot_core.translation.glossary import Glossary, read_glossary
    from parrot_core.translation.prompts import STEPS, load_prompts

    backend = options.backend
    if backend not in _STEPS:
        raise UsageError(f"no such backend: {backend!r}", hint=f"Backends: {', '.join(_STEPS)}.")
    model = _MODELS.get(backend) if options.model is None else options.model
    if model is None:
        raise UsageError(
            "no model to translate with", hint="Give --model, a folder or a model hub's name."
        )
    names, human = [], set()
    for part in (_STEPS[backend] if options.steps is None else options.steps).split(","):
        name, _, who = part.strip().partition(":")
        if who not in ("", "human", "llm"):
            raise UsageError(f"no such worker: {part!r}", hint="A step is NAME or NAME:human.")
        names.append(name)
        if who == "human" or backend == "human":
            human.add(name)
    models = {}
    for pair in options.step_model or ():
        step, _, name = pair.partition("=")
        if step not in STEPS or not name:
            raise UsageError(f"--step-model {pair!r}", hint="Give e.g. vote=gpt-4o-mini.")
        models[step] = name
    glossary = Glossary()
    if options.glossary is not None:
        glossary = read_glossary(options.glossary, source_language=source_language)
    return Settings(
        prompts=load_prompts(options.prompts),
        model=model,
        source_language=source_language,
        steps=tuple(names),
        human=frozenset(human),
        step_models=models,
        candidates=options.candidates,
        voters=options.voters,
        glossary=glossary,
        attempts=options.attempts,
        on_flag=on_flag,
    )


def _prices(options: Options, models: Collection[str]) -> "dict[str, Price]":
    """Returns what tokens cost by model: by the options, else by the list, where it has them."""
    from parrot_core.errors import UsageError
    from parrot_core.translation.costs import Price, list_prices, parse_price

    if options.backend != "openai":
        return dict.fromkeys(models, Price(prompt=0.0, completion=0.0))
    prices = list_prices(models)
    # A model's own price goes over that of all.
    for option in sorted(options.price or (), key=lambda text: "=" in text):
        model, _, price = option.rpartition("=")
        if model and model not in models:
            raise UsageError(
                f"--price {option!r}: no step asks {model!r}",
                hint=f"Models of this job: {', '.join(sorted(models))}.",
            )
        prices.update(dict.fromkeys([model] if model else models, parse_price(price)))
    if options.max_cost is not None and not options.dry_run:
        prices |= _dearest(sorted(set(models) - prices.keys()))
    return prices


def _dearest(models: Collection[str]) -> "dict[str, Price]":
    """Warns that prices are not known, and returns the dearest, so that a cap holds."""
    from parrot_cli.output import note
    from parrot_core.translation.costs import DEAREST

    if models:
        note(
            f"warning: the price of {', '.join(map(repr, models))} is not known; so that "
            f"--max-cost holds, it is taken to be ${DEAREST.prompt:g} and "
            f"${DEAREST.completion:g} per million tokens (give --price)"
        )
    return dict.fromkeys(models, DEAREST)


def _worker(options: Options, settings: "Settings", prices: "dict[str, Price]") -> "Worker":
    from parrot_core.errors import UsageError
    from parrot_core.translation.chat_api import Endpoint
    from parrot_core.translation.workers import NoWorker

    if not settings.models:
        return NoWorker()
    try:
        own = {} if options.parameters is None else json.loads(options.parameters)
    except json.JSONDecodeError as error:
        raise UsageError(f"--parameters is not JSON: {error}", hint="Quote the object.") from error
    if not isinstance(own, dict) or own.keys() & {"model", "messages"}:
        raise UsageError(
            "--parameters is no object of parameters",
            hint='Give e.g. \'{"temperature": null, "top_p": 0.9}\'.',
        )
    key = _key_of(options.key_variable)
    if options.dry_run:  # only who is asked must have a key
        key = key or "none"
    return make_worker(
        options.backend,
        model=settings.model_of("draft"),
        endpoint=Endpoint(base_url=options.base_url, key=key, timeout=options.timeout),
        prices=prices,
        parameters=own,
        token_limit=options.token_limit,
        device=options.device,
        load=not options.dry_run,
    )


def make_worker(
    backend: str,
    *,
    model: str,
    endpoint: "Endpoint",
    prices: "dict[str, Price]",
    parameters: dict[str, Any] | None = None,
    token_limit: str = "max_tokens",
    device: str = "cpu",
    load: bool = True,
) -> "Worker":
    """Returns a model that translates.

    Args:
        backend: `openai` or `local`.
        model: Folder or name of a local model; an endpoint is told the model with each call.
        endpoint: Where an `openai` model is.
        prices: What its tokens cost by model, where that is known.
        parameters: Parameters of requests over those of the steps.
        token_limit: Name of the parameter that limits an answer.
        device: Device of a local model.
        load: Whether a local model is loaded, or only known.
    """
    from parrot_core.errors import UsageError

    if backend == "local":
        from parrot_cli.output import loading
        from parrot_core.translation.local import LocalWorker

        with loading(Path(model)) if load else nullcontext():
            return LocalWorker(model, device=device, load=load)
    if backend != "openai":
        raise UsageError(f"no such backend: {backend!r}", hint="Backends: openai, local.")
    from parrot_core.translation.chat_api import ChatWorker

    return ChatWorker(endpoint, prices=prices, parameters=parameters, token_limit=token_limit)


def _key_of(variable: str) -> str | None:
    """Reads a key from the environment; white space around it is none of it."""
    from parrot_core.errors import UsageError

    key = os.environ.get(variable, "").strip()
    if not key.isprintable():
        raise UsageError(
            f"the key in {variable} has a line break or another control character in it",
            hint="Set it again: a key is one line.",
        )
    return key or None
