"""Kinds of values that a type alone does not say: counts, rates, shares, languages, GPUs."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Protocol

from parrot_core.languages import LANGUAGES
from parrot_core.recipe.hardware import GPUS


class Check(Protocol):
    """What a value must be beyond its type; stands in an `Annotated`."""

    def problem(self, value: object) -> str | None:
        """Says what is wrong with a value of the right type, or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Numbers within limits; infinity and what is no number are always outside."""

    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf

    def problem(self, value: object) -> str | None:
        """Says within which limits the number should lie."""
        if not isinstance(value, int | float):
            return None
        if self.above < value < self.below and value >= self.at_least and math.isfinite(value):
            return None
        limits = []
        if math.isfinite(self.above):
            limits.append(f"above {self.above:g}")
        if math.isfinite(self.at_least):
            limits.append(f"at least {self.at_least:g}")
        if math.isfinite(self.below):
            limits.append(f"below {self.below:.12g}")
        return f"must be {' and '.join(limits) or 'a finite number'}, not {value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneFolder:
    """Names of which a folder can be made, in another one and nowhere else."""

    def problem(self, value: object) -> str | None:
        """Says which letters are in the way."""
        name = str(value)
        if name.strip(". ") and not any(letter in "/\\" or ord(letter) < 32 for letter in name):
            return None
        return f"must be the name of a folder, without / and \\, not {name!r}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOfLanguages:
    """Codes of the table of languages."""

    def problem(self, value: object) -> str | None:
        """Says which code may be meant."""
        if value in LANGUAGES:
            return None
        for language in LANGUAGES.values():
            if str(value).lower() in (language.name.lower(), language.native_name.lower()):
                return f"unknown language {value!r}; did you mean {language.code}?"
        near = did_you_mean(str(value), LANGUAGES)
        return f"unknown language {value!r}{near}; known are {', '.join(LANGUAGES)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOfGpus:
    """Names of the table of GPUs."""

    def problem(self, value: object) -> str | None:
        """Says which GPU may be meant."""
        if value in GPUS:
            return None
        near = did_you_mean(str(value), GPUS)
        return f"unknown GPU {value!r}{near}; known are {', '.join(GPUS)}"


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """Returns `; did you mean …?` with the nearest of the known names, or nothing."""
    near = difflib.get_close_matches(name, [str(entry) for entry in known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


Count = Annotated[int, Bounds(above=0)]
NoneOrMore = Annotated[int, Bounds(at_least=0)]
Positive = Annotated[float, Bounds(above=0)]
NotNegative = Annotated[float, Bounds(at_least=0)]
Finite = Annotated[float, Bounds()]
Minutes = Annotated[float, Bounds(above=0, below=366 * 24 * 60)]
Seed = Annotated[int, Bounds(at_least=0, below=2**32)]
"""What all generators take that a run seeds."""
Name = Annotated[str, OneFolder()]
Share = Annotated[float, Bounds(at_least=0, below=1)]
LanguageCode = Annotated[str, OneOfLanguages()]
GpuName = Annotated[str, OneOfGpus()]
