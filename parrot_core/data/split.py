"""An English set parted among languages, without a sample or picture in two (section 3.4)."""

import hashlib
import json
import posixpath
import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from parrot_core.data.records import keep_sources
from parrot_core.data.samples import Sample, parse_sample, read_records
from parrot_core.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """What was written, and the proof that it is disjoint, counted from the written files.

    Attributes:
        samples: Samples by language.
        images: Different pictures by language.
        shared_samples: Samples that two languages have.
        shared_images: Pictures that two languages have.
        shared_texts: Conversations, word by word, that two languages have.
        unused: Samples of the set that no language has.
    """

    samples: dict[str, int]
    images: dict[str, int]
    shared_samples: int
    shared_images: int
    shared_texts: int
    unused: int

    @property
    def disjoint(self) -> bool:
        """Whether nothing is in two languages."""
        return not (self.shared_samples or self.shared_images or self.shared_texts)


def split_samples(
    source: Path, folder: Path, *, counts: Mapping[str, int], seed: int = 0
) -> SplitReport:
    """Draws samples for every language and writes `LANGUAGE.json` for each, still untranslated.

    Samples that share a picture or a whole conversation go to one language together.

    Args:
        source: JSON or JSONL file of LLaVA samples.
        folder: Where the files are written.
        counts: How many samples each language gets, by code.
        seed: What the draw depends on, with the order of the samples.

    Raises:
        UsageError: if there are not enough samples that can be kept apart, or the set itself would
            be written over.
    """
    keep_sources([source], [folder / f"{language}.json" for language in counts])
    groups = _groups(source)
    places = assign(groups, counts=counts, seed=seed)
    total = sum(map(len, groups))
    _write(source, folder, places, languages=list(counts))
    return _prove(folder, languages=list(counts), total=total)


def assign(
    groups: Sequence[Sequence[int]], *, counts: Mapping[str, int], seed: int
) -> dict[int, str]:
    """Gives whole groups to languages until each has exactly its count.

    Args:
        groups: Samples (by position) that must stay together.
        counts: How many samples each language gets.
        seed: What the draw depends on.

    Returns:
        The language of each position that has one.

    Raises:
        UsageError: if the counts cannot be met.
    """
    wrong = [language for language, count in counts.items() if count < 1]
    if wrong or not counts:
        raise UsageError(
            f"no count of samples for {', '.join(wrong) or 'any language'}",
            hint="Give e.g. --to zh=71000,pt=14000, or --to zh,pt --count 10000.",
        )
    order = list(groups)
    random.Random(seed).shuffle(order)
    # Large groups first, in drawn order: small ones then fill the counts exactly.
    order.sort(key=len, reverse=True)
    left = dict(counts)
    places: dict[int, str] = {}
    # Who gets a group is drawn too, in proportion to what is still wanted, so that every language
    # sees the same mixture.
    draw = random.Random(f"{seed}/languages")
    wanted = sum(left.values())
    available = sum(map(len, order))
    for group in order:
        size = len(group)
        # Leave out samples at the same rate all the way, not the last and smallest groups only.
        spare = available - wanted
        available -= size
        fitting = [language for language, count in left.items() if count >= size]
        if not fitting or (size > 1 and spare >= size and draw.random() * (spare + wanted) < spare):
            continue
        language = draw.choices(fitting, weights=[left[code] for code in fitting])[0]
        left[language] -= size
        wanted -= size
        places.update(dict.fromkeys(group, language))
        if not wanted:
            break
    if wanted:
        lacking = ", ".join(f"{code} {count:,}" for code, count in left.items() if count)
        raise UsageError(
            f"too few samples that can be kept apart; lacking: {lacking}",
            hint=f"The set has {sum(map(len, groups)):,} samples in {len(groups):,} groups that "
            "share no picture: ask for fewer.",
        )
    return places


def _groups(source: Path) -> list[list[int]]:
    """Groups positions of samples that share a picture or a text (union-find over both)."""
    parents: list[int] = []
    owner: dict[bytes, int] = {}

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    for position, (origin, record) in enumerate(read_records(source)):
        sample = parse_sample(record, origin=origin)
        parents.append(position)
        for key in (*_image_keys(sample), _text_key(sample)):
            first = root(owner.setdefault(key, position))
            parents[root(position)] = first
    groups: dict[int, list[int]] = {}
    for position in range(len(parents)):
        groups.setdefault(root(position), []).append(position)
    return list(groups.values())


def _image_keys(sample: Sample) -> list[bytes]:
    # `./a.png` is `a.png`: one picture under two spellings must not be in two languages.
    return [_hash(f"image\0{posixpath.normpath(path)}") for path in sample.images]


def _text_key(sample: Sample) -> bytes:
    words = "\0".join(f"{turn.role}\0{turn.text}" for turn in sample.turns)
    # The same question about two pictures is not one conversation.
    return _hash("text\0" + words + "\0".join(sample.images))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _write(
    source: Path, folder: Path, places: Mapping[int, str], *, languages: Sequence[str]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {
            language: stack.enter_context(
                (folder / f"{language}.json").open("w", encoding="utf-8", newline="\n")
            )
            for language in languages
        }
        begun: set[str] = set()
        for position, (_, record) in enumerate(read_records(source)):
            language = places.get(position)
            if language is not None:
                files[language].write(",\n" if language in begun else "[\n")
                files[language].write(json.dumps(record, ensure_ascii=False))
                begun.add(language)
        for file in files.values():
            file.write("\n]\n")


def _prove(folder: Path, *, languages: Sequence[str], total: int) -> SplitReport:
    """Reads the written files again and counts what two of them share."""
    owners: tuple[dict[bytes, str], ...] = ({}, {}, {})
    shared = [0, 0, 0]
    samples: dict[str, int] = {}
    images: dict[str, int] = {}
    for language in languages:
        own_images: set[bytes] = set()
        samples[language] = 0
        for origin, record in read_records(folder / f"{language}.json"):
            samples[language] += 1
            sample = parse_sample(record, origin=origin)
            own_images.update(_image_keys(sample))
            whole = _hash("record\0" + json.dumps(record, sort_keys=True))
            keys = ([whole], _image_keys(sample), [_text_key(sample)])
            for place, (owner, found) in enumerate(zip(owners, keys, strict=True)):
                shared[place] += sum(owner.setdefault(key, language) != language for key in found)
        images[language] = len(own_images)
    return SplitReport(
        samples=samples,
        images=images,
        shared_samples=shared[0],
        shared_images=shared[1],
        shared_texts=shared[2],
        unused=total - sum(samples.values()),
    )
