"""Which words pulled the router: the attention of equation 2 over the prompt, word by word.

Shapes: N tokens of a sample, C hidden size, E experts.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from parrot_core.errors import UsageError
from parrot_core.inspection.reading import Batch
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

NEWLINE, SPACE = "⏎", "␣"
"""What stands for tokens of nothing but white space."""

# Scripts that put no space between words: there a token is as good a word as any.
_UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"}
_APOSTROPHES = "'\u2019"  # the typewriter's, and the printer's

Shares = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidingWord:
    """What a word of the prompts does to the routing of a language's images.

    Attributes:
        word: As it is written.
        attention: Its share of the attention, mean over all images; all words' sum to 1.
        fair: Its share of the tokens that guide, likewise: what it would get if all got alike.
        images: In the prompts of how many it stands.
        pull: float[E], its part of the router's logits, mean over all images, each image's logits
            centred; all words' sum to the mean of the centred log P.
    """

    word: str
    attention: float
    fair: float
    images: int
    pull: tuple[float, ...]

    @property
    def favours(self) -> int:
        """The expert that it pulls to most, from 0."""
        return max(range(len(self.pull)), key=self.pull.__getitem__)


@dataclass
class _Sum:
    pull: Tensor
    attention: float = 0.0
    fair: float = 0.0
    images: int = 0


@dataclass
class _Language:
    images: int = 0
    words: dict[str, _Sum] = field(default_factory=dict)


class WordWatcher:
    """Adds up what each word of the prompts does, as batches pass.

    Args:
        model: With experts.
        processor: The model's.

    Raises:
        UsageError: if words do not guide this model's router.
    """

    def __init__(self, model: ParrotForConditionalGeneration, processor: ParrotProcessor) -> None:
        if model.experts is None or not model.config.text_guidance:
            raise UsageError(
                "no words guide the router of this checkpoint (text_guidance = false)",
                hint="Leave --words out.",
            )
        self._model = model
        self._router = model.experts.router.detach().float()
        self._processor = processor
        self._whole = frozenset(processor.tokenizer.all_special_tokens)
        self._languages: dict[str, _Language] = {}

    def __call__(self, language: str, batch: Batch) -> None:
        """Takes note of a batch."""
        attention = batch.features.guidance_weights
        assert attention is not None  # seen to when the watcher was made
        whole = self._languages.setdefault(language, _Language())
        located: dict[int, list[Shares]] = {}
        for sample, weights in zip(batch.samples, attention, strict=True):
            present = batch.inputs["attention_mask"][sample].bool()
            if sample not in located:
                text, places = self._processor.locate_tokens(
                    batch.conversations[sample].messages, add_generation_prompt=True
                )
                located[sample] = words_of_tokens(text, places, whole=self._whole)
            ids = batch.inputs["input_ids"][sample][present]
            self._add(whole, located[sample], ids, weights[present].float())

    def words(self) -> dict[str, list[GuidingWord]]:
        """For each language its words, those with the most attention first."""
        return {
            language: sorted(
                (
                    GuidingWord(
                        word=word,
                        attention=entry.attention / whole.images,
                        fair=entry.fair / whole.images,
                        images=entry.images,
                        pull=tuple((entry.pull / whole.images).tolist()),
                    )
                    for word, entry in whole.words.items()
                ),
                key=lambda entry: (-entry.attention, entry.word),
            )
            for language, whole in self._languages.items()
        }

    def _add(
        self, whole: _Language, shares: Sequence[Shares], ids: Tensor, weights: Tensor
    ) -> None:
        guiding = weights.nonzero()[:, 0]
        with torch.no_grad():
            embedded = self._model.get_input_embeddings()(ids[guiding]).float()  # [n, C]
            logits = embedded @ self._router.to(embedded.device).T
        pulls = weights[guiding, None] * (logits - logits.mean(dim=1, keepdim=True))  # [n, E]
        whole.images += 1
        seen = set()
        for place, weight, pull in zip(
            guiding.tolist(), weights[guiding].tolist(), pulls.cpu(), strict=True
        ):
            for word, share in shares[place].items():
                entry = whole.words.setdefault(word, _Sum(pull=torch.zeros_like(pull)))
                entry.attention += share * weight
                entry.fair += share / len(guiding)
                entry.pull += share * pull
                seen.add(word)
        for word in seen:
            whole.words[word].images += 1


def words_of_tokens(
    text: str, places: Sequence[tuple[int, int]], *, whole: frozenset[str] = frozenset()
) -> list[Shares]:
    """Which words each token is part of, in which shares (that sum to 1).

    A word is a run of letters, marks and digits, or a single other sign, or a special token. Where
    a script puts no space between words, the letters that one token holds are one.

    Args:
        text: What was tokenised.
        places: For each token the place of its first letter and of the letter after its last.
        whole: Special tokens, which are words whatever they are made of.
    """
    words = _split(text, places, whole)
    shares: list[Shares] = []
    for start, end in places:
        visible = [place for place in range(start, end) if not text[place].isspace()]
        if not visible:
            shares.append({NEWLINE if "\n" in text[start:end] else SPACE: 1.0})
            continue
        share: Shares = {}
        for place in visible:
            share[words[place]] = share.get(words[place], 0.0) + 1 / len(visible)
        shares.append(share)
    return shares


def _split(text: str, places: Sequence[tuple[int, int]], whole: frozenset[str]) -> list[str]:
    """For each letter of a text the word that it belongs to."""
    kinds = [_kind(text, place) for place in range(len(text))]
    tied = [False] * len(text)  # whether a letter belongs to the same token as the one before it
    for start, end in set(places):
        special = text[start:end] in whole
        for place in range(start + 1, end):
            tied[place] = special or kinds[place] == kinds[place - 1] == "unspaced"
    words, start = [], 0
    for place in range(1, len(text) + 1):
        joined = place < len(text) and (tied[place] or kinds[place] == kinds[place - 1] == "spaced")
        if not joined:
            words += [text[start:place]] * (place - start)
            start = place
    return words


def _kind(text: str, place: int) -> str:
    letter = text[place]
    if letter in _APOSTROPHES:
        inside = 0 < place < len(text) - 1
        inside = inside and text[place - 1].isalpha() and text[place + 1].isalpha()
        return "spaced" if inside else "sign"
    if unicodedata.category(letter)[0] not in "LMN":
        return "sign"
    script = unicodedata.name(letter, "").split(" ")[0].split("-")[0]  # marks have one, too
    return "unspaced" if script in _UNSPACED else "spaced"
