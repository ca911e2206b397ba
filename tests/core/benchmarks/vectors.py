"""The recorded answers of other toolkits, and what a careful reader would say."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

SCORING = Path(__file__).parents[2] / "data" / "scoring"
csv.field_size_limit(sys.maxsize)


def records(name: str) -> list[dict[str, Any]]:
    lines = (SCORING / name).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert found
    return found


def expected(folder: str) -> dict[str, Any]:
    return json.loads((SCORING / folder / "expected.json").read_text(encoding="utf-8"))


def rows(folder: str, file: str) -> list[dict[str, str]]:
    with (SCORING / folder / file).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t"))
