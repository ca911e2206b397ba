"""What a data set is made of, by language, read off its texts (Table 2, Figure 9)."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from parrot_core.data.images import image_size, resolve_image
from parrot_core.data.samples import IMAGE_PLACEHOLDER, Sample, read_samples
from parrot_core.errors import UsageError
from parrot_core.languages import PAPER_LANGUAGES, identify, script_of

UNDETERMINED = "?"
"""Key of samples whose language cannot be told: too short, or in none of the candidates."""

_ENOUGH = 2000  # letters of a sample that are looked at to tell its language
_WITHOUT_SPACES = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI"})


@dataclass(slots=True)
class LanguageStats:
    """What is in one language.

    Attributes:
        samples: Samples.
        text_only: Samples without a picture.
        images: Pictures that samples name, each time they do.
        turns: Turns.
        words: Words; in scripts that set no spaces, signs.
        tokens: Tokens of the given tokenizer, or None.
        stated: Samples by the language that they state themselves.
    """

    samples: int = 0
    text_only: int = 0
    images: int = 0
    turns: int = 0
    words: int = 0
    tokens: int | None = None
    stated: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class DataStats:
    """What a data set is made of.

    Attributes:
        languages: By language identified from the text, most samples first.
        different_images: Different pictures over all languages.
        image_sizes: Least, median and greatest width and height in pixels, if they were read.
    """

    languages: dict[str, LanguageStats] = field(default_factory=dict)
    different_images: int = 0
    image_sizes: dict[str, tuple[int, float, int]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON holds them."""
        return {
            "languages": {
                code: asdict(part) | {"stated": dict(part.stated)}
                for code, part in self.languages.items()
            },
            "different_images": self.different_images,
            "image_sizes": self.image_sizes,
        }


def count_files(
    files: Sequence[Path],
    *,
    candidates: Sequence[str] = PAPER_LANGUAGES,
    count_tokens: Callable[[str], int] | None = None,
    image_root: Path | None = None,
    read_images: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> DataStats:
    """Counts samples, pictures, turns, words and tokens by language.

    Args:
        files: JSON or JSONL files of LLaVA samples.
        candidates: Codes of the languages that may occur.
        count_tokens: Returns how many tokens a text has; None leaves tokens uncounted.
        image_root: Folder that image paths are relative to; None is each file's own.
        read_images: Whether picture files are opened for their sizes.
        on_progress: Called with the number of samples so far.

    Raises:
        MissingError, UsageError: if a file or sample is not in the format; names the place.
        ImageError: if pictures are read and one is missing or broken.
    """
    stats = DataStats()
    images: set[bytes] = set()
    sizes: list[tuple[int, int]] = []
    number = 0
    for path in files:
        root = image_root or path.parent
        for number, sample in enumerate(read_samples(path), start=number + 1):  # noqa: B020
            texts = [turn.text.replace(IMAGE_PLACEHOLDER, " ") for turn in sample.turns]
            code = identify(" ".join(texts)[:_ENOUGH], candidates) or UNDETERMINED
            part = stats.languages.setdefault(code, LanguageStats())
            _add(part, sample, texts, count_tokens)
            for name in sample.images:
                # The same name in two roots is two pictures; hashes cost 16 bytes a picture.
                key = hashlib.blake2b(f"{root}\0{name}".encode(), digest_size=16).digest()
                if key not in images:
                    images.add(key)
                    if read_images:
                        sizes.append(image_size(resolve_image(name, root=root)))
            if on_progress is not None and number % 100 == 0:
                on_progress(number)
    stats.languages = dict(
        sorted(stats.languages.items(), key=lambda item: (-item[1].samples, item[0]))
    )
    stats.different_images = len(images)
    if sizes:
        stats.image_sizes = {
            name: (min(values), median(values), max(values))
            for name, values in zip(("width", "height"), zip(*sizes, strict=True), strict=True)
        }
    return stats


def _add(
    part: LanguageStats,
    sample: Sample,
    texts: Sequence[str],
    count_tokens: Callable[[str], int] | None,
) -> None:
    part.samples += 1
    part.text_only += not sample.images
    part.images += len(sample.images)
    part.turns += len(sample.turns)
    part.words += sum(map(count_words, texts))
    if count_tokens is not None:
        part.tokens = (part.tokens or 0) + sum(map(count_tokens, texts))
    if sample.language is not None:
        part.stated[sample.language] += 1


def count_words(text: str) -> int:
    """Counts words between spaces, or signs where the script sets none."""
    if script_of(text) in _WITHOUT_SPACES:
        return sum(sign.isalnum() for sign in text)
    return len(text.split())


def draw_stats(stats: DataStats, path: Path) -> None:
    """Draws the shares of the languages (Figure 9) and their sizes, as PNG, SVG or PDF.

    Raises:
        UsageError: if there are no samples.
    """
    from matplotlib.figure import Figure

    if not stats.languages:
        raise UsageError("no samples to draw", hint="Leave out --plot.")
    codes = list(stats.languages)
    samples = [stats.languages[code].samples for code in codes]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    pie, bars = figure.subplots(1, 2)
    pie.pie(samples, labels=codes, autopct=lambda share: f"{share:.1f} %" if share >= 3 else "")
    pie.set_title("samples by language")
    bars.barh(codes[::-1], samples[::-1])
    bars.set_xscale("symlog")
    bars.set_title("samples, logarithmic")
    for place, count in enumerate(samples[::-1]):
        bars.annotate(f" {count:,}", (count, place), va="center")
    bars.margins(x=0.15)
    figure.savefig(path)
