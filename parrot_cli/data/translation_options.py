"""What the options of translation commands stand for: settings, prices, workers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parrot_core.translation import Settings
    from parrot_core.translation.costs import Price
    from parrot_core.translation.workers import Worker


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
    asked: bool = True,
) -> "Worker":
    """Returns who translates, as the options say; `asked` is whether it will be, or only known."""
    from parrot_core.errors import UsageError

    if backend == "local":
        from parrot_core.translation.local import LocalWorker

        return LocalWorker(model, device=device, load=asked)
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
        # Only who is asked must have a key.
        Endpoint(base_url=base_url, key=key if asked else key or "none", timeout=timeout),
        price=price,
        parameters=own,
        token_limit=token_limit,
    )
