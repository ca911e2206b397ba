"""What a translation job will take, before anything is asked."""

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parrot_core.languages import LANGUAGES
from parrot_core.translation.chat_api import IMAGE_TOKENS
from parrot_core.translation.costs import Price, estimate_tokens
from parrot_core.translation.glossary import as_prompt
from parrot_core.translation.job import Limits
from parrot_core.translation.segments import Segment, read_sources, segment_of
from parrot_core.translation.settings import Settings
from parrot_core.translation.workers import digest

_SECONDS_FIRST = 0.5  # until an answer begins, as hosted models go
_SECONDS_PER_TOKEN = 0.015
_VOTE_TOKENS = 3
_OTHER_SCRIPT = 1.6  # tokens of a translation over those of English, where letters are not Latin
_LATIN_SCRIPT = 1.25


@dataclass(slots=True)
class StepEstimate:
    """Requests and tokens of one step."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Estimate:
    """What a job will take if nothing fails and nothing is in its journal yet.

    Attributes:
        segments: Segments, equal ones counted each time.
        unique: Different segments; only these are asked.
        steps: Requests and tokens by step.
        cost: Billionths of a dollar, or None if the price is not known.
        seconds: Time at the given concurrency and rates.
        seconds_per_request: Time one request is taken to need, on average.
    """

    segments: int = 0
    unique: int = 0
    steps: dict[str, StepEstimate] = field(default_factory=dict)
    cost: int | None = None
    seconds: float = 0.0
    seconds_per_request: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Returns the estimate as JSON holds it."""
        return {
            "segments": self.segments,
            "unique_segments": self.unique,
            "requests": sum(part.requests for part in self.steps.values()),
            "prompt_tokens": sum(part.prompt_tokens for part in self.steps.values()),
            "completion_tokens": sum(part.completion_tokens for part in self.steps.values()),
            "steps": {
                step: {
                    "requests": part.requests,
                    "prompt_tokens": part.prompt_tokens,
                    "completion_tokens": part.completion_tokens,
                }
                for step, part in self.steps.items()
            },
            "dollars": None if self.cost is None else self.cost / 1e9,
            "seconds": round(self.seconds, 1),
        }


def estimate(
    source: Path,
    *,
    languages: Sequence[str],
    settings: Settings,
    limits: Limits,
    price: Price | None,
    image_root: Path | None = None,
    local: bool = False,
) -> Estimate:
    """Estimates a job by filling in the prompts of every different segment.

    Args:
        source: JSON or JSONL file of LLaVA samples.
        languages: Codes of the languages to translate into.
        settings: Steps, prompts, glossary.
        limits: Concurrency and rates.
        price: What tokens cost, or None.
        image_root: Image root, if the model is to see pictures.
        local: Whether the model runs here and needs no prompts.
    """
    found = Estimate(steps={step: StepEstimate() for step in settings.steps})
    with closing(sqlite3.connect("")) as seen:  # on disk, not in memory
        seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        for entry in read_sources(source):
            for turn in range(len(entry.sample.turns)):
                for language in languages:
                    segment = segment_of(entry.sample, turn, language, image_root=image_root)
                    if segment is None:
                        continue
                    found.segments += 1
                    key = digest(segment.text, language, segment.image_digest)
                    if seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
                        found.unique += 1
                        _add(found, segment, settings, local=local)
    requests = sum(part.requests for part in found.steps.values())
    tokens_in = sum(part.prompt_tokens for part in found.steps.values())
    tokens_out = sum(part.completion_tokens for part in found.steps.values())
    if price is not None:
        found.cost = price.cost(tokens_in, tokens_out)
    if requests:
        found.seconds_per_request = round(
            _SECONDS_FIRST + _SECONDS_PER_TOKEN * tokens_out / requests, 2
        )
    found.seconds = max(
        found.seconds_per_request * math.ceil(requests / limits.concurrency),
        60 * requests / (limits.requests_per_minute or math.inf),
        60 * (tokens_in + tokens_out) / (limits.tokens_per_minute or math.inf),
    )
    return found


def _add(found: Estimate, segment: Segment, settings: Settings, *, local: bool) -> None:
    """Adds the calls of one segment, every step of it."""
    scripts = LANGUAGES[segment.language].scripts
    factor = _LATIN_SCRIPT if "LATIN" in scripts else _OTHER_SCRIPT
    text_tokens = estimate_tokens(segment.text)
    translation_tokens = math.ceil(text_tokens * factor)
    entries = settings.glossary.for_text(segment.text, segment.language)
    fields = {"source": segment.text, "glossary": as_prompt(entries)}
    for step in settings.steps:
        if step in settings.human:
            continue
        part = found.steps[step]
        calls = {"refine": settings.candidates, "vote": settings.voters}.get(step, 1)
        words = settings.prompts[step].messages(fields)
        tokens = 0 if local else sum(estimate_tokens(message["content"]) for message in words)
        texts = {"draft": 0, "vote": settings.candidates}.get(step, 1)
        tokens += texts * translation_tokens + (IMAGE_TOKENS if segment.image else 0)
        part.requests += calls
        part.prompt_tokens += calls * tokens
        part.completion_tokens += calls * (_VOTE_TOKENS if step == "vote" else translation_tokens)
