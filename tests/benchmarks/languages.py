"""How well languages are told from short names: `python tests/benchmarks/languages.py`.

The texts are the names of the embedded data's concepts (the CLDR's, mostly one to three words): in
the paper's six languages, told among these six; and in twelve others, each among its three, on
which the constants of `parrot_core.languages.identification` were chosen. Prints one JSON line a
language: how many names, and the shares that were told rightly, left open, and mistaken, by Parrot
and by langdetect alone, which knows no candidates.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from langdetect import DetectorFactory, LangDetectException, detect  # noqa: E402

from parrot_cli.data_demo import default_cache  # noqa: E402
from parrot_core.data.emoji.concepts import concept_table  # noqa: E402
from parrot_core.data.emoji.materials import load_materials  # noqa: E402
from parrot_core.languages import PAPER_LANGUAGES, identify  # noqa: E402

OTHERS = (("de", "es", "id"), ("fr", "it", "sw"), ("nl", "pl", "sv"), ("cs", "hu", "ro"))


def detect_alone(name: str) -> str | None:
    try:
        return detect(name).split("-")[0]
    except LangDetectException:  # no letters that it knows
        return None


def shares(found: list[str | None], code: str) -> dict[str, float]:
    kinds = Counter("right" if answer == code else "open" if answer is None else "mistaken"
                    for answer in found)  # fmt: skip
    return {kind: round(kinds[kind] / len(found), 4) for kind in ("right", "open", "mistaken")}


def measure(candidates: Sequence[str]) -> None:
    """Prints a line for each of the candidates."""
    # Concepts are named in English, whatever else they are named in.
    languages = ("en", *(code for code in candidates if code != "en"))
    concepts = concept_table(load_materials(default_cache(), languages=languages))
    for code in candidates:
        names = [concept.names[code] for concept in concepts]
        line = {
            "language": code,
            "among": candidates,
            "names": len(names),
            "words a name": round(sum(len(name.split()) for name in names) / len(names), 2),
            "parrot": shares([identify(name, candidates) for name in names], code),
            "langdetect": shares([detect_alone(name) for name in names], code),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    DetectorFactory.seed = 0
    for languages in (PAPER_LANGUAGES, *OTHERS):
        measure(languages)
