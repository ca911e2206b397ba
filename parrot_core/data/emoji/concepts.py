"""The concept table: what is drawn in every style and named in every language."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from parrot_core.data.emoji.materials import Materials
from parrot_core.errors import UsageError
from parrot_core.languages import LANGUAGES

NOUN_GROUPS = ("animals-nature", "food-drink", "travel-places", "activities", "objects")
"""Unicode's groups of things that a picture can show and a noun can name."""

_NOT_PICTURES = ("component", "flags")


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """Something with a drawing in every style and a name in every language.

    Attributes:
        codepoints: The emoji, as `normal_codepoints` writes it; also the name of its pictures.
        group: Unicode's group.
        subgroup: Unicode's subgroup.
        names: The CLDR's short name by language code.
        keywords: The CLDR's keywords by language code.
    """

    codepoints: str
    group: str
    subgroup: str
    names: Mapping[str, str]
    keywords: Mapping[str, Sequence[str]]


def concept_table(materials: Materials) -> list[Concept]:
    """Returns the emoji named in all languages and drawn in all styles, in Unicode's order.

    Flags and components (skin tones, hair) are left out. Where two share a name in a language, the
    later is left out as well: a name must stand for one picture.
    """
    concepts: list[Concept] = []
    taken: set[tuple[str, str]] = set()
    for entry in materials.catalogue:
        key = entry.codepoints
        everywhere = (*materials.annotations.values(), *materials.artwork.values())
        if entry.group in _NOT_PICTURES or not all(key in part for part in everywhere):
            continue
        annotations = {code: rows[key] for code, rows in materials.annotations.items()}
        names = {code: annotation.name for code, annotation in annotations.items()}
        keys = {(code, comparable(name)) for code, name in names.items()}
        if keys & taken:
            continue
        taken |= keys
        concepts.append(
            Concept(
                codepoints=key,
                group=entry.group,
                subgroup=entry.subgroup,
                names=names,
                keywords={code: annotation.keywords for code, annotation in annotations.items()},
            )
        )
    return concepts


def comparable(name: str) -> str:
    """Returns a name as readers compare it: no case, one Unicode form, no Arabic vowel signs."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return "".join(
        letter
        for letter in folded
        if not (unicodedata.combining(letter) and unicodedata.name(letter, "").startswith("ARABIC"))
    )


def select_concepts(
    concepts: Sequence[Concept],
    *,
    groups: Collection[str] = NOUN_GROUPS,
    excluded_subgroups: Collection[str] = ("time",),
    max_words: int = 1,
    max_chinese_characters: int = 4,
    limit: int | None = None,
) -> list[Concept]:
    """Chooses concepts with short names, the same way every time.

    Args:
        concepts: The table.
        groups: Unicode's groups to take from.
        excluded_subgroups: Subgroups to leave out; clock faces (`time`) differ only in the hour.
        max_words: Words that a name may have in a language that writes spaces between them.
        max_chinese_characters: Characters that a name may have in a language that does not.
        limit: At most so many, spread evenly over the choice; None for all.

    Raises:
        UsageError: if a group is unknown or nothing is left.
    """
    known = {concept.group for concept in concepts}
    if strange := sorted(set(groups) - known):
        raise UsageError(
            f"unknown emoji group {strange[0]!r}",
            hint=f"The table has: {', '.join(sorted(known))}.",
        )

    def is_short(code: str, name: str) -> bool:
        if "CJK" in LANGUAGES[code].scripts:
            return len(name) <= max_chinese_characters
        return len(name.split()) <= max_words

    chosen = [
        concept
        for concept in concepts
        if concept.group in groups
        and concept.subgroup not in excluded_subgroups
        and all(is_short(code, name) for code, name in concept.names.items())
    ]
    if not chosen:
        raise UsageError(
            f"no concept has names of at most {max_words} words "
            f"({max_chinese_characters} Chinese characters) in every language",
            hint="Allow longer names or more groups.",
        )
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[index * len(chosen) // limit] for index in range(limit)]
