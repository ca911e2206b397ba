"""The prompts of the steps: TOML files with a version, shipped here or given by the user."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from parrot_core.errors import MissingError, UsageError

STEPS = ("draft", "recheck", "refine", "vote")
"""The steps of Figure 3 in their order."""

_TRANSLATION_STEP = frozenset({"source_language", "target_language", "source", "glossary"})
_FIELDS = {
    "draft": _TRANSLATION_STEP,
    "recheck": _TRANSLATION_STEP | {"translation"},
    "refine": _TRANSLATION_STEP | {"translation"},
    "vote": _TRANSLATION_STEP | {"candidates"},
}
_NEEDED = {
    "draft": "source",
    "recheck": "translation",
    "refine": "translation",
    "vote": "candidates",
}
_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """The words in which a model is asked to do one step.

    Attributes:
        step: The step.
        version: The version that its file states.
        digest: Hash of its words, so that an edit without a new version is noticed too.
        system: The system message.
        user: The user message.
        retry: What is said when an answer has faults; `{problems}` are named.
    """

    step: str
    version: str
    digest: str
    system: str
    user: str
    retry: str

    @property
    def identity(self) -> str:
        """Version and hash, as provenance and cache keys state them."""
        return f"{self.step} v{self.version} {self.digest}"

    def messages(self, fields: Mapping[str, str]) -> list[dict[str, str]]:
        """Fills in the fields in one pass, so that braces in the texts themselves stay."""
        return [
            {"role": "system", "content": _fill(self.system, fields).strip()},
            {"role": "user", "content": _fill(self.user, fields)},
        ]

    def correction(self, problems: str) -> str:
        """Says that the answer before cannot be used, and why."""
        return _fill(self.retry, {"problems": problems})


def _fill(template: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)


def load_prompts(folder: Path | None = None) -> dict[str, Prompt]:
    """Returns the prompt of every step: from the folder where it has `STEP.toml`, else the shipped.

    Raises:
        MissingError: if the folder is not there.
        UsageError: if a file of it is no prompt; names the file and the key.
    """
    if folder is not None and not folder.is_dir():
        raise MissingError(f"no such folder of prompts: {folder}", hint="Check --prompts.")
    prompts = {}
    for step in STEPS:
        own = None if folder is None else folder / f"{step}.toml"
        if own is not None and own.is_file():
            prompts[step] = _parse(own.read_bytes(), step=step, place=str(own))
        else:
            shipped = resources.files("parrot_core.translation") / "prompts" / f"{step}.toml"
            prompts[step] = _parse(shipped.read_bytes(), step=step, place=f"{step}.toml")
    return prompts


def _parse(content: bytes, *, step: str, place: str) -> Prompt:
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{place}: {error}", hint="Write it as TOML, in UTF-8.") from error
    keys = ("version", "system", "user", "retry")
    wrong = [key for key in keys if not isinstance(table.get(key), str)]
    wrong += sorted(table.keys() - set(keys))
    if wrong:
        raise UsageError(
            f"{place}: {', '.join(wrong)}", hint=f"A prompt has four texts: {', '.join(keys)}."
        )
    used = set(_FIELD.findall(table["system"] + table["user"]))
    unknown = sorted(used - _FIELDS[step])
    if unknown or not {"source", _NEEDED[step]} <= used:
        raise UsageError(
            f"{place}: "
            + (f"unknown field {{{unknown[0]}}}" if unknown else f"no {{{_NEEDED[step]}}}"),
            hint=f"Fields of {step}: {', '.join(sorted(_FIELDS[step]))}.",
        )
    texts = "\0".join(table[key] for key in keys[1:])
    return Prompt(
        step=step,
        version=table["version"],
        digest=hashlib.sha256(texts.encode()).hexdigest()[:12],
        system=table["system"],
        user=table["user"].removeprefix("\n"),
        retry=table["retry"].strip(),
    )
