"""Answers from a Parrot checkpoint: many at once for evaluation, word by word for chat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from PIL import Image
from transformers import TextIteratorStreamer

from parrot_core.data.collate import Messages
from parrot_core.data.samples import IMAGE_PLACEHOLDER
from parrot_core.errors import MissingError
from parrot_core.languages import get_language, identify
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor, load_parrot
from parrot_core.model.supervision import IGNORED_LABEL


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """What a model is to answer: turns in the words of chat templates, their images in order."""

    messages: Messages
    images: tuple[Image.Image, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A model's words, and for each image P of Equation 3, float[E]; None without experts."""

    text: str
    routing: tuple[tuple[float, ...], ...] | None


def load_for_use(
    folder: Path, *, device: str | None = None
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Loads a checkpoint for answering, onto a GPU where there is one.

    Args:
        folder: The checkpoint.
        device: Where to; left out, the first GPU, or else the CPU.

    Raises:
        MissingError: if the folder is not there or holds no checkpoint; says what is missing.
    """
    if not (folder / "config.json").is_file():
        what = "has no config.json" if folder.is_dir() else "does not exist"
        raise MissingError(
            f"not a checkpoint: {folder} {what}",
            hint="Name the folder that `parrot train --stage 2` wrote, or run `parrot demo`.",
        )
    model, processor = load_parrot(folder)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model.to(torch.device(chosen))  # type: ignore[arg-type]  # the library's decorator hides `self`
    model.train(mode=False)
    return model, processor


def ask(
    question: str,
    *,
    images: Sequence[Image.Image] = (),
    language: str | None = None,
    history: Sequence[dict[str, str]] = (),
) -> Conversation:
    """Puts a question about images that come before it.

    Args:
        question: In any language.
        images: That the question is the first to show.
        language: Code of the language to answer in. A question that is recognisably in another one
            is followed by the request to answer in this one, in its own words.
        history: Earlier turns.
    """
    if language is not None:
        asked_in = identify(question, tuple(sorted({language, *_WIDELY_USED})))
        if asked_in not in (None, language):
            question = f"{question} {get_language(language).answer_request}"
    shown = "".join(f"{IMAGE_PLACEHOLDER}\n" for _ in images)
    turn = {"role": "user", "content": f"{shown}{question}"}
    return Conversation(messages=[*history, turn], images=tuple(images))


_WIDELY_USED = ("en", "zh", "pt", "ar", "tr", "ru")


def answer(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
    *,
    max_new_tokens: int = 512,
    **sampling: Any,  # noqa: ANN401 - the library's generation settings
) -> list[Answer]:
    """Answers a batch of conversations, greedily unless told otherwise.

    Args:
        model: In evaluation mode.
        processor: The model's.
        conversations: Each ends with a user's turn.
        max_new_tokens: Longest answer.
        **sampling: As `generate` takes them, for instance `do_sample` and `temperature`.
    """
    inputs = _encode(model, processor, conversations)
    with torch.no_grad():
        output = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            return_dict_in_generate=True,
            **{"do_sample": False, **sampling},
        )
    prompt_length = inputs["input_ids"].shape[1]
    texts = processor.tokenizer.batch_decode(
        output.sequences[:, prompt_length:], skip_special_tokens=True
    )
    rows = iter(_rows(output.get("routing_weights")))
    has_routing = output.get("routing_weights") is not None
    return [
        Answer(
            text=text.strip(),
            routing=tuple(next(rows) for _ in conversation.images) if has_routing else None,
        )
        for text, conversation in zip(texts, conversations, strict=True)
    ]


def stream(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversation: Conversation,
    *,
    max_new_tokens: int = 512,
    **sampling: Any,  # noqa: ANN401 - as for `answer`
) -> Iterator[str]:
    """Yields the answer to one conversation piece by piece, as it is generated.

    An error of the generation is raised here, after the last piece.
    """
    streamer = TextIteratorStreamer(
        processor.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=600
    )
    inputs = _encode(model, processor, [conversation])
    failure: list[BaseException] = []

    def generate() -> None:
        try:
            with torch.no_grad():
                model.generate(
                    **inputs,
                    max_new_tokens=max_new_tokens,
                    streamer=streamer,
                    **{"do_sample": False, **sampling},
                )
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, below
            failure.append(error)
            streamer.end()  # type: ignore[no-untyped-call]

    worker = Thread(target=generate, daemon=True)
    worker.start()
    yield from streamer
    worker.join()
    if failure:
        raise failure[0]


def weigh(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """Returns log P(candidate | conversation) in nats: the sum over its tokens and its end.

    Args:
        model: In evaluation mode.
        processor: The model's.
        conversations: Each ends with a user's turn.
        candidates: For each conversation the answers to weigh; images are encoded once for all.
    """
    rows = [number for number, texts in enumerate(candidates) for _ in texts]
    answered = [
        [*conversations[number].messages, {"role": "assistant", "content": text}]
        for number, texts in enumerate(candidates)
        for text in texts
    ]
    batch = processor.encode_conversations(answered, images=None, supervise=True)
    asked = processor.encode_conversations(
        [conversation.messages for conversation in conversations],
        images=None,
        add_generation_prompt=True,
    )
    labels = batch.pop("labels")
    for row, number in enumerate(rows):  # earlier answers are given, not weighed
        labels[row, : int(asked["attention_mask"][number].sum())] = IGNORED_LABEL
    inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
    images = [image for conversation in conversations for image in conversation.images]
    with torch.no_grad():
        if images:
            features = model.vision_features(processor.prepare_images(images).to(model.device))
            inputs["vision_features"] = features[_images_of_rows(conversations, rows)]
        logits = model(**inputs).logits[:, :-1]
    labels = labels[:, 1:].to(logits.device)
    chosen = logits.float().log_softmax(dim=-1).gather(2, labels.clamp_min(0).unsqueeze(-1))
    weights = chosen.squeeze(-1).masked_fill(labels == IGNORED_LABEL, 0.0).sum(dim=1).tolist()
    found = iter(weights)
    return [[next(found) for _ in texts] for texts in candidates]


def _images_of_rows(conversations: Sequence[Conversation], rows: Sequence[int]) -> list[int]:
    """Indices of each row's images among those of all conversations."""
    first = [0]
    for conversation in conversations:
        first.append(first[-1] + len(conversation.images))
    return [image for number in rows for image in range(first[number], first[number + 1])]


def routing(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
) -> list[tuple[float, ...]]:
    """Returns P of Equation 3, float[E], for every image of a batch, without generating."""
    inputs = _encode(model, processor, conversations)
    with torch.no_grad():
        features = model.encode_images(
            inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            guidance_mask=inputs["guidance_mask"],
        )
    return _rows(features.routing_weights)


def _encode(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
) -> dict[str, torch.Tensor]:
    batch = processor.encode_conversations(
        [conversation.messages for conversation in conversations],
        images=[conversation.images for conversation in conversations],
        add_generation_prompt=True,
        padding_side="left",
    )
    return {name: tensor.to(model.device) for name, tensor in batch.items()}


def _rows(weights: torch.Tensor | None) -> list[tuple[float, ...]]:
    return [] if weights is None else [tuple(row) for row in weights.tolist()]
