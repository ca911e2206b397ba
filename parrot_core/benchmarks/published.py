"""Figures that others published: the paper's tables, always marked so and never mixed with runs."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRow:
    """A row of one of the paper's tables.

    Attributes:
        source: The table, for instance `Table 1`.
        method: The model, as the table names it.
        detail: What else tells the row from others: language model, vision encoder, data.
        benchmark: Name of the benchmark.
        values: Accuracy in 0..1 (LLaVA-Bench: the relative score / 100) by language.
    """

    source: str
    method: str
    detail: str
    benchmark: str
    values: dict[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What stands in a table of results."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.method}{detail} [published, {self.source}]"


def published_rows(benchmark: str) -> list[PublishedRow]:
    """Returns the published rows of a benchmark, in the order of the paper's tables."""
    rows: dict[tuple[str, str, str], PublishedRow] = {}
    for line in _lines():
        if line["benchmark"] == benchmark:
            key = (line["source"], line["method"], line["detail"])
            row = rows.setdefault(
                key,
                PublishedRow(
                    source=line["source"],
                    method=line["method"],
                    detail=line["detail"],
                    benchmark=benchmark,
                ),
            )
            row.values[line["language"]] = float(line["percent"]) / 100
    return list(rows.values())


def _lines() -> Iterator[dict[str, str]]:
    file = files("parrot_core.benchmarks").joinpath("published.csv")
    with file.open(encoding="utf-8") as text:
        yield from csv.DictReader(text)
