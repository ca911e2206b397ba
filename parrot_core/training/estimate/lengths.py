"""How long a data set's samples are: read from its file, or as published, or assumed."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from tokenizers import Tokenizer

from parrot_core.data.samples import IMAGE_PLACEHOLDER, Sample, read_samples
from parrot_core.errors import MissingError
from parrot_core.recipe import ChosenData
from parrot_core.training.estimate.work import ASSUMED_TEXT_TOKENS, LONGEST, SampleLengths

logger = logging.getLogger(__name__)

TokenCount = Callable[[str], int]

_TOKENIZER_FILE = "tokenizer.json"
_TOKENISED = 500  # samples, of which the others' tokens are inferred by their characters
_MARKUP = 5  # tokens that the chat template puts around a turn
_CHARACTERS_PER_TOKEN = 3.5  # where the tokenizer is not at hand


def sample_lengths(
    data: ChosenData,
    *,
    count_tokens: TokenCount | None,
    otherwise: int | None = None,
    read: bool = True,
) -> SampleLengths:
    """Says how long a data set's samples are, by the best that is known.

    Args:
        data: The data set; its file is read if it is there.
        count_tokens: The language model's tokenizer, where it is at hand.
        otherwise: How many samples to assume if nobody says.
        read: Whether to read the file, which of a large one takes minutes.

    Raises:
        MissingError: if the file is not there, and nobody said how many samples it has.
        UsageError: if a record in the file is not a sample.
    """
    if read and data.file.is_file():
        return _read(data, count_tokens)
    samples = data.published_samples or otherwise
    if samples is None:
        raise MissingError(
            f"no data set {data.name}: {data.file} is not there, and nobody says how long it is",
            hint="Set data.folder, or samples and text_tokens of the data set in [datasets].",
        )
    text = float(data.text_tokens or ASSUMED_TEXT_TOKENS)
    return SampleLengths(
        name=data.name,
        samples=samples,
        images=1.0,
        text_tokens=text,
        longest_text=LONGEST * text,
        source="published size, estimated length"
        if data.published_samples and data.text_tokens
        else "assumed",
    )


def find_tokenizer(source: str) -> TokenCount | None:
    """Returns a language model's tokenizer if it is on this machine; nothing is fetched."""
    path: str | Path | object = Path(source, _TOKENIZER_FILE)
    if not Path(source).is_dir():
        try:
            path = try_to_load_from_cache(source, _TOKENIZER_FILE)
        except HFValidationError:  # no name that the hub could have
            return None
    if not isinstance(path, str | Path) or not Path(path).is_file():
        return None
    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _read(data: ChosenData, count_tokens: TokenCount | None) -> SampleLengths:
    characters = longest = images = samples = turns = 0
    some_characters = some_tokens = 0
    for sample in read_samples(data.file):
        length = sum(map(len, _texts(sample)))
        characters += length
        longest = max(longest, length)
        images += len(sample.images)
        turns += len(sample.turns)
        samples += 1
        if count_tokens is not None and samples <= _TOKENISED:
            some_characters += length
            some_tokens += sum(map(count_tokens, _texts(sample)))
    if not samples:
        raise MissingError(f"no sample in {data.file}", hint="Name a file that has some.")
    per_character = some_tokens / some_characters if some_characters else 1 / _CHARACTERS_PER_TOKEN
    if count_tokens is None:
        logger.warning(
            "no tokenizer at hand: %s is taken to have a token for %s characters",
            data.name,
            _CHARACTERS_PER_TOKEN,
        )
    return SampleLengths(
        name=data.name,
        samples=samples,
        images=images / samples,
        text_tokens=characters / samples * per_character + _MARKUP * turns / samples,
        longest_text=longest * per_character + _MARKUP * turns / samples,
        source="measured",
    )


def _texts(sample: Sample) -> Iterator[str]:
    return (turn.text.replace(IMAGE_PLACEHOLDER, "") for turn in sample.turns)
