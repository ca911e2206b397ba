"""Drafts by a sequence-to-sequence model on this machine: NLLB, M2M-100, MADLAD-400, Opus-MT."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import LANGUAGES, Language
from parrot_core.translation.protection import spans
from parrot_core.translation.workers import Answer, Call, UnusableError

_SENTENCE = re.compile(r"(?<=[.!?…])\s+(?=[^\s])|(\n+)")
_LONGEST_SENTENCE = 400  # tokens; the models were trained on sentences


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    text: str
    source_language: str
    language: str
    done: "asyncio.Future[str]"


class LocalWorker:
    """Translates sentence by sentence; what must stay as it is never reaches the model.

    Calls that come while the model works are its next batch, one target language at a time.

    Args:
        model: Folder or hub name of the model.
        device: `cpu`, `cuda`, …
        batch_size: Sentences translated at once.
        beams: Width of the beam search.
        load: Whether the model is loaded; without it only the manner of asking is known, which is
            all that an estimate needs.
    """

    name = "local"
    steps = frozenset({"draft"})
    repeatable = False
    sees = False

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        batch_size: int = 16,
        beams: int = 4,
        load: bool = True,
    ) -> None:
        """Loads the model; only safetensors are read, and no code that comes with a model."""
        self._device = device
        self._batch_size = batch_size
        self._beams = beams
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None
        if load:
            self._load(model)

    def _load(self, model: str) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
            self._model: Any = AutoModelForSeq2SeqLM.from_pretrained(model, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise MissingError(
                f"cannot load a translation model from {model!r}",
                hint="Give the folder or hub name of an NLLB, M2M-100, MADLAD or Opus-MT model "
                "that has safetensors.",
            ) from error
        self._model.to(self._device).eval()

    def parameters(self, step: str, *, candidate: int, text: str) -> dict[str, Any]:
        """Returns the search's parameters."""
        del step, candidate, text
        return {"beams": self._beams}

    def ceiling(self, call: Call, *, tries: int) -> int:
        """Returns 0: one's own machine costs nothing a call."""
        del call, tries
        return 0

    async def answer(self, call: Call, *, tries: int) -> Answer:
        """Translates; see `Worker.answer`."""
        del tries
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(
            _Waiting(
                text=call.text,
                source_language=call.source_language,
                language=call.language,
                done=done,
            )
        )
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._work())
        text = await done
        if not text.strip():
            raise UnusableError("empty", Answer(text=text))
        return Answer(text=text)

    async def close(self) -> None:
        """Waits for the batch under way."""
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    async def _work(self) -> None:
        """Translates batches until nothing waits."""
        await asyncio.sleep(0)  # let the other calls of this moment join the first batch
        while self._waiting:
            first = self._waiting[0]
            batch = [
                waiting
                for waiting in self._waiting
                if (waiting.source_language, waiting.language)
                == (first.source_language, first.language)
            ][: self._batch_size]
            self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
            try:
                texts = await asyncio.to_thread(self._translate_or_say_why, batch)
            except Exception as error:  # noqa: BLE001 - whoever waits raises it
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
                continue
            for waiting, text in zip(batch, texts, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(text)

    def _translate_or_say_why(self, batch: list[_Waiting]) -> list[str]:
        try:
            return self._translate_texts(batch)
        except (RuntimeError, IndexError) as error:  # no memory left; a tokenizer of another model
            raise MissingError(
                f"the model cannot translate: {str(error).splitlines()[0]}",
                hint="Give a model that fits the device, with its own tokenizer, or --device cpu.",
            ) from error

    def _translate_texts(self, batch: list[_Waiting]) -> list[str]:
        """Cuts texts into sentences and protected parts, translates the former, and joins all."""
        pieces = [_pieces(waiting.text) for waiting in batch]
        sentences = list(
            dict.fromkeys(text for parts in pieces for text, translated in parts if translated)
        )
        # Like lengths together, so that little of a batch is padding.
        sentences.sort(key=lambda text: (len(text), text))
        source, target = batch[0].source_language, batch[0].language
        done: dict[str, str] = {}
        for start in range(0, len(sentences), self._batch_size):
            chunk = sentences[start : start + self._batch_size]
            done.update(zip(chunk, self._translate_sentences(chunk, source, target), strict=True))
        return [
            "".join(done[text] if translated else text for text, translated in parts)
            for parts in pieces
        ]

    def _translate_sentences(self, texts: list[str], source: str, target: str) -> list[str]:
        import torch

        texts, options = self._prepare(texts, source, target)
        inputs = self._tokenizer(
            texts, return_tensors="pt", padding=True, truncation=True, max_length=_LONGEST_SENTENCE
        ).to(self._device)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            outputs = self._model.generate(
                **inputs,
                **options,
                num_beams=self._beams,
                do_sample=False,
                max_new_tokens=32 + 3 * inputs["input_ids"].shape[1],
            )
        return [
            text.strip() for text in self._tokenizer.batch_decode(outputs, skip_special_tokens=True)
        ]

    def _prepare(
        self, texts: list[str], source: str, target: str
    ) -> tuple[list[str], dict[str, Any]]:
        """Tells the model the languages, in the way of its family."""
        from transformers import M2M100Tokenizer

        tokenizer = self._tokenizer
        known = tokenizer.get_vocab()
        family = self._model.config.model_type
        if f"<2{target}>" in known:  # MADLAD-400
            return [f"<2{target}> {text}" for text in texts], {}
        flores = {code: LANGUAGES[code].flores for code in (source, target)}
        if known.keys() >= set(flores.values()):  # NLLB
            tokenizer.src_lang = flores[source]
            return texts, {"forced_bos_token_id": known[flores[target]]}
        # M2M-100 keeps its languages out of its vocabulary.
        if isinstance(tokenizer, M2M100Tokenizer) and tokenizer.lang_code_to_id.keys() >= {*flores}:
            tokenizer.src_lang = source
            return texts, {"forced_bos_token_id": tokenizer.get_lang_id(target)}
        if family == "marian":  # Opus-MT; models of one target language have no marks
            marks = sorted(token for token in known if token.startswith(">>"))
            mark = _mark_of(LANGUAGES[target], marks) if marks else ""
            return [f"{mark} {text}".strip() for text in texts], {}
        raise UsageError(
            f"the model (of type {family!r}) does not say how to ask it for {source} to {target}",
            hint="Known are NLLB, M2M-100, MADLAD-400 and Opus-MT models, and what these speak.",
        )


def _mark_of(language: Language, marks: Sequence[str]) -> str:
    """Returns the mark (`>>tur<<`, `>>cmn_Hans<<`, `>>pt_BR<<`) that stands for a language.

    Raises:
        UsageError: if none does.
    """
    three, _, script = language.flores.partition("_")
    codes = tuple(filter(None, (three, *language.other_codes, language.code)))
    for name in (f"{code}{ending}" for ending in (f"_{script}", "") for code in codes):
        if f">>{name}<<" in marks:
            return f">>{name}<<"
    for mark in marks:  # a region's, if there is no other
        if mark.strip("><").partition("_")[0] in codes:
            return mark
    raise UsageError(
        f"the model does not translate into {language.code!r}",
        hint=f"It knows: {', '.join(marks[:20])}.",
    )


def _pieces(text: str) -> list[tuple[str, bool]]:
    """Cuts a text into (part, is it to be translated), which joined are the text."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for span in spans(text):
        pieces += _sentences(text[at : span.start])
        pieces.append((span.text, False))
        at = span.end
    return pieces + _sentences(text[at:])


def _sentences(text: str) -> list[tuple[str, bool]]:
    """Cuts running text at the ends of sentences and lines; the white space stays as it is."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for end in [*(match.span() for match in _SENTENCE.finditer(text)), (len(text), len(text))]:
        sentence = text[at : end[0]]
        core = sentence.strip()
        start = sentence.find(core)
        pieces.append((sentence[:start], False))
        pieces.append((core, any(sign.isalpha() for sign in core)))
        pieces.append((sentence[start + len(core) :] + text[end[0] : end[1]], False))
        at = end[1]
    return [(part, translated) for part, translated in pieces if part]
