"""How the routing came about: what a run's log says about it, step by step."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parrot_core.errors import MissingError, UsageError

LOG_FILE = "log.jsonl"
ROUTING_FIELD = "routing_by_language"
"""What a line of the log calls the mean routing weights of each language."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedRouting:
    """Mean routing weights float[E] by language, as logged at an optimiser step."""

    step: int
    routing: Mapping[str, tuple[float, ...]]


def read_routing_log(path: Path) -> list[LoggedRouting]:
    """Reads the lines of a run's log that have `routing_by_language`, of language to weights.

    A last line that was cut off, as a killed run leaves it, is passed over.

    Args:
        path: The run's folder, or its log.

    Raises:
        MissingError: if there is no log.
        UsageError: if a line is not what a log has, or no line has routing.
    """
    file = path / LOG_FILE if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise MissingError(
            f"no log of a run at {path}: {error.strerror}",
            hint=f"Name a folder that `parrot train` wrote; its {LOG_FILE} is read.",
        ) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            if isinstance(entry, dict) and ROUTING_FIELD in entry:
                found.append(_parse(entry))
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines) and isinstance(error, json.JSONDecodeError):
                continue
            raise UsageError(
                f"{file}:{number}: {error!r}", hint="A log has one object a line."
            ) from error
    if not found:
        raise UsageError(
            f"{file} says nothing about routing",
            hint="It is logged in stage 2, where experts are enabled.",
        )
    return sorted(found, key=lambda entry: entry.step)


def _parse(entry: Mapping[str, object]) -> LoggedRouting:
    step, routing = entry["step"], entry[ROUTING_FIELD]
    if not isinstance(step, int) or not isinstance(routing, dict):
        raise TypeError(f"step is a number, and {ROUTING_FIELD} an object of language to weights")
    weights = {str(code): tuple(map(float, row)) for code, row in routing.items()}
    if len({len(row) for row in weights.values()}) != 1:
        raise ValueError("languages differ in their number of experts")
    for row in weights.values():
        if not math.isclose(sum(row), 1, abs_tol=0.01):
            raise ValueError(f"weights sum to {sum(row):.3f}, not 1")
    return LoggedRouting(step=step, routing=weights)
