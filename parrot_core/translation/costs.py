"""Tokens and money: estimates before a call, accounts after it. Money is billionths of a dollar."""

import functools
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from parrot_core.errors import UsageError

NANO = 1_000_000_000
"""Billionths in a dollar."""

# Signs of these scripts are about a token each; of the others, letters share one.
_DENSE = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})
_LETTERS_PER_TOKEN = {"LATIN": 4.0, "CYRILLIC": 2.5, "ARABIC": 2.0}
_OTHER_LETTERS_PER_TOKEN = 1.5
_ASCII_TOKENS = 0.34  # a sign other than a space, digits and punctuation among them


IMAGE_SIDE = 1024
"""Longest side, in pixels, of a picture that is sent."""
IMAGE_TOKENS = 3500
"""Tokens of such a picture, where the model is not known: what open models take that tile it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a model charges.

    Attributes:
        prompt: Dollars for a million tokens of questions.
        completion: Dollars for a million tokens of answers.
        image_tokens: Tokens that a picture of `IMAGE_SIDE` pixels is charged as, at most.
    """

    prompt: float
    completion: float
    image_tokens: int = IMAGE_TOKENS

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Returns billionths of a dollar, rounded up."""
        return math.ceil((prompt_tokens * self.prompt + completion_tokens * self.completion) * 1000)


LIST_PRICES = {
    "gpt-4": Price(prompt=30.0, completion=60.0),
    "gpt-4-turbo": Price(prompt=10.0, completion=30.0, image_tokens=800),
    "gpt-4o": Price(prompt=2.5, completion=10.0, image_tokens=800),
    "gpt-4o-mini": Price(prompt=0.15, completion=0.6, image_tokens=26_000),
    "gpt-4.1": Price(prompt=2.0, completion=8.0, image_tokens=800),
    "gpt-4.1-mini": Price(prompt=0.4, completion=1.6, image_tokens=1_700),
    "gpt-4.1-nano": Price(prompt=0.1, completion=0.4, image_tokens=2_600),
}
"""List prices of the paper's model and its successors, as of 2025; `--price` overrides them."""

DEAREST = LIST_PRICES["gpt-4"]
"""What a model of unknown price is taken to cost where a limit must hold."""


def parse_price(text: str) -> Price:
    """Reads `2.5,10`: dollars for a million tokens in and out.

    Raises:
        UsageError: if it is not two numbers of at least 0.
    """
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"no price: {text!r}", hint="Give dollars per million tokens in and out, e.g. 2.5,10."
        ) from error
    if not (0 <= prompt < math.inf and 0 <= completion < math.inf):
        raise UsageError(f"no price: {text!r}", hint="Prices are not negative.")
    return Price(prompt=prompt, completion=completion)


def list_prices(models: Iterable[str]) -> dict[str, Price]:
    """Returns the list prices of those models that have one."""
    return {model: price for model in models if (price := list_price(model)) is not None}


def list_price(model: str) -> Price | None:
    """Returns the list price of a model, dated releases of it included, or None."""
    base = model.rpartition("/")[2]
    if base in LIST_PRICES:
        return LIST_PRICES[base]
    dated = [name for name in LIST_PRICES if base.startswith(f"{name}-2")]
    return LIST_PRICES[max(dated, key=len)] if dated else None


@functools.lru_cache(maxsize=4096)  # instructions recur in every call
def estimate_tokens(text: str) -> int:
    """Estimates how many tokens a text has, rather too many than too few.

    Without the model's tokenizer nobody knows; a fifth is added to the usual letters per token.
    """
    if text.isascii():
        return math.ceil((len(text) - text.count(" ")) * _ASCII_TOKENS) + 1
    return math.ceil(sum(map(_tokens_of_sign, text)) * 1.2) + 1


@functools.cache  # there are only so many signs
def _tokens_of_sign(sign: str) -> float:
    if sign.isspace():
        return 0.0
    script = unicodedata.name(sign, "").split(" ")[0].split("-")[0]
    if script in _DENSE:
        return 1.2
    return 1 / _LETTERS_PER_TOKEN.get(script, _OTHER_LETTERS_PER_TOKEN)


def dollars(nanos: int) -> str:
    """Writes an amount of money."""
    return f"${nanos / NANO:,.4f}" if nanos < NANO else f"${nanos / NANO:,.2f}"
