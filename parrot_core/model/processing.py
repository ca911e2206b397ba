"""The processor: images and conversations to tensors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import MultiModalData

from parrot_core.errors import UsageError
from parrot_core.model import measuring
from parrot_core.model.conversations import check_conversation, render_with_spans
from parrot_core.model.errors import (
    ChatTemplateError,
    ImageError,
    NothingSupervisedError,
    PlaceholderError,
)
from parrot_core.model.supervision import IGNORED_LABEL

IMAGE_TOKEN = "<image>"
_SMALLEST_SIDE = 2

# Options of the library's route that change nothing here: batches are always padded tensors.
_ACCEPTED_OPTIONS: dict[str, tuple[Any, ...]] = {
    "padding": (None, True, "longest"),
    "truncation": (None, False),
    "return_tensors": (None, "pt", "auto"),
    "tools": (None,),
    "documents": (None,),
    "sanitize_control_tokens": (None, False),
    "load_audio_from_video": (None, False),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Encoded:
    """A conversation's tokens, where each stands in its text, and which the assistant speaks."""

    text: str
    ids: list[int]
    places: list[tuple[int, int]]
    answer: list[int]

    def pairs(self) -> Iterator[tuple[int, int]]:
        return zip(self.ids, self.answer, strict=True)


class ParrotProcessor(ProcessorMixin):
    """Prepares images and text, expands image placeholders, and marks what guides and what teaches.

    Args:
        image_processor: Of the vision encoder.
        tokenizer: Of the language model, a fast one, with an image token.
        chat_template: Template to use instead of the tokenizer's.
        num_image_tokens: V, the placeholders that each image gets.
        pad_to_square: Whether images are padded to squares with the mean colour, as the released
            checkpoints were trained, rather than cropped or squeezed by the image processor.
        image_token: The placeholder in text.

    Raises:
        UsageError: if the tokenizer is a slow one or has no image token.
    """

    def __init__(
        self,
        image_processor: BaseImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        num_image_tokens: int = 577,
        pad_to_square: bool = True,  # noqa: FBT001, FBT002 - the library passes arguments by name
        image_token: str = IMAGE_TOKEN,
    ) -> None:
        if tokenizer is None or image_processor is None:
            raise UsageError(
                "a ParrotProcessor needs an image processor and a tokenizer",
                hint="Load it with ParrotProcessor.from_pretrained or join_parrot.",
            )
        self.num_image_tokens = num_image_tokens
        self.pad_to_square = pad_to_square
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        if not tokenizer.is_fast:
            raise UsageError(
                f"{type(tokenizer).__name__} does not say where its tokens stand in the text",
                hint="Use the fast tokenizer of the language model.",
            )
        if image_token not in tokenizer.get_vocab():
            raise UsageError(
                f"the tokenizer has no token {image_token}",
                hint="join_parrot adds it; or add it as a special token.",
            )
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def encode_conversations(
        self,
        conversations: Sequence[Sequence[Mapping[str, str]]],
        *,
        images: Sequence[Sequence[Image.Image]] | None,
        supervise: bool = False,
        add_generation_prompt: bool = False,
        padding_side: str = "right",
    ) -> BatchFeature:
        """Encodes conversations about images with the language model's own chat template.

        Args:
            conversations: Messages with `role` (system, user, assistant) and `content`, a string
                with `<image>` where an image goes.
            images: For each conversation its images, in reading order; None where the caller
                brings the images' features to the model himself.
            supervise: Whether to return labels, for training.
            add_generation_prompt: Whether to end with the header of the assistant's next turn.
            padding_side: `right` for training, `left` for generation.

        Returns:
            `input_ids`, `attention_mask` and `guidance_mask` int[B, N]; with images `pixel_values`
            float[M, 3, S, S]; with `supervise` `labels` int[B, N], -100 but on the assistant's
            words and its end-of-turn token. Everything guides but those words and tokens, images
            and padding.

        Raises:
            PlaceholderError: if a conversation's placeholders and images differ in number.
            ImageError: if an image is too small to show anything.
            ChatTemplateError: if there is no template, or the assistant's words cannot be found.
            NothingSupervisedError: if a conversation to learn from has no assistant.
        """
        if images is not None and len(conversations) != len(images):
            raise UsageError(
                f"{len(conversations)} conversations, but images for {len(images)}",
                hint="Give a list of images for each conversation, an empty one for text alone.",
            )
        for number, messages in enumerate(conversations):
            check_conversation(messages, place=f"conversation {number}")
            if images is not None:
                place = f"conversation {number}"
                self._check_placeholders(messages, len(images[number]), place=place)
        template = self._template()
        encoded = [
            self._encode(messages, template=template, add_generation_prompt=add_generation_prompt)
            for messages in conversations
        ]
        batch = self._pad(encoded, padding_side=padding_side)
        if supervise:
            batch["labels"] = self._labels(encoded, padding_side=padding_side)
        flat = [image for shown in images or () for image in shown]
        if flat:
            batch["pixel_values"] = self.prepare_images(flat)
        return BatchFeature(batch)

    def locate_tokens(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """Renders a conversation and says where in the text each of its tokens stands.

        Args:
            messages: As for `encode_conversations`.
            add_generation_prompt: Likewise.

        Returns:
            The text, and for each of the N tokens the place of its first letter and of the letter
            after its last; all V tokens of an image stand where its placeholder does.
        """
        check_conversation(messages, place="the conversation")
        encoded = self._encode(
            messages, template=self._template(), add_generation_prompt=add_generation_prompt
        )
        return encoded.text, encoded.places

    def measure_conversations(
        self, conversations: Sequence[Sequence[Mapping[str, str]]]
    ) -> list[tuple[int, int]]:
        """Measures conversations as `encode_conversations` encodes them to learn from.

        Returns:
            For each its tokens, those of images included, and to how few it can be cut from the
            end and still have its images and something to learn.

        Raises:
            UsageError: if one of them cannot be encoded.
        """
        return measuring.measure_conversations(conversations, **self._measures())

    def measurement_key(self) -> str:
        """Tells apart all that lengths depend on: tokenizer, chat template and image tokens."""
        return measuring.measurement_key(**self._measures())

    def prepare_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Images to float[M, 3, S, S]: RGB, padded to squares, then the encoder's own preparation.

        Raises:
            ImageError: if an image is too small to show anything.
        """
        prepared = [self._prepare(image, number) for number, image in enumerate(images)]
        return self.image_processor(prepared, return_tensors="pt")["pixel_values"]

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's types
        """Renders or encodes multimodal messages, as in the library, with a guidance mask.

        Content may be a list of `{"type": "text"}` and `{"type": "image"}` entries, or OpenAI's
        `{"type": "image_url"}`: the template, written for text, is given them as lines, images as
        placeholders. With `tokenize` and `return_dict` the result carries `guidance_mask`, so that
        earlier answers do not guide.

        Raises:
            UsageError: if a conversation is empty, or a message is not one.
            PlaceholderError: if placeholders and images differ in number.
        """
        kwargs = {**dict(zip(("conversation", "chat_template"), args, strict=False)), **kwargs}
        conversation = kwargs.pop("conversation")
        if not conversation:
            raise UsageError("the conversation is empty", hint="Give at least one message.")
        chats, is_batch = self._normalize_conversations(conversation)
        flat = [[self._flatten(message) for message in chat] for chat in chats]
        for number, messages in enumerate(flat):
            check_conversation(messages, place=f"conversation {number}")
        tokenize, as_batch = kwargs.pop("tokenize", False), kwargs.pop("return_dict", False)
        side = kwargs.pop("padding_side", self.tokenizer.padding_side)
        masks = kwargs.pop("return_assistant_tokens_mask", False)
        template = kwargs.pop("chat_template", None) or self._template()
        options = _accepted({**(kwargs.pop("processor_kwargs", None) or {}), **kwargs})
        if not tokenize:
            texts = [
                render_with_spans(messages, tokenizer=self.tokenizer, template=template, **options)[
                    0
                ]
                for messages in flat
            ]
            return texts if is_batch else texts[0]
        images = self._images_of(chats)
        for number, (messages, shown) in enumerate(zip(flat, images, strict=True)):
            self._check_placeholders(messages, len(shown), place=f"conversation {number}")
        encoded = [self._encode(messages, template=template, **options) for messages in flat]
        batch = self._pad(encoded, padding_side=side)
        if masks:
            batch["assistant_masks"] = _stack([row.answer for row in encoded], 0, side)
        shown_in_all = [image for shown in images for image in shown]
        if shown_in_all:
            batch["pixel_values"] = self.prepare_images(shown_in_all)
        return BatchFeature(batch) if as_batch else batch["input_ids"]

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:  # noqa: ARG002, ANN401
        """What an image's placeholder becomes in text: V image tokens."""
        return self.image_token * self.num_image_tokens

    def validate_inputs(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Checks text and images given to the processor itself.

        Raises:
            PlaceholderError: if placeholders and images differ in number.
        """
        kwargs = {**dict(zip(("images", "text"), args, strict=False)), **kwargs}
        text, images = kwargs.get("text"), kwargs.get("images")
        if text is not None:
            texts = [text] if isinstance(text, str) else text
            places = [str(part).count(self.image_token) for part in texts]
            _compare(sum(places), _count_images(images), place="the text", token=self.image_token)
            if isinstance(images, list) and images and isinstance(images[0], list):
                for number, (found, shown) in enumerate(zip(places, images, strict=True)):
                    _compare(found, len(shown), place=f"text {number}", token=self.image_token)
        super().validate_inputs(**kwargs)

    def _process_images(self, images: Any, **kwargs: Any) -> tuple[BatchFeature, list[str]]:  # noqa: ANN401
        flat: Any = make_flat_list_of_images(images)
        prepared = [self._prepare(image, number) for number, image in enumerate(flat)]
        return super()._process_images(prepared, **kwargs)

    def _get_num_multimodal_tokens(
        self,
        image_sizes: list[list[int]] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> MultiModalData:
        """The library's hook: how many tokens images of these sizes will have."""
        images = len(image_sizes or ())
        return MultiModalData(
            num_image_tokens=[self.num_image_tokens] * images, num_image_patches=[1] * images
        )

    def _measures(self) -> dict[str, Any]:
        return {
            "tokenizer": self.tokenizer,
            "template": self._template(),
            "image_token": self.image_token,
            "num_image_tokens": self.num_image_tokens,
        }

    def _template(self) -> str:
        template = self.chat_template or self.tokenizer.chat_template
        if isinstance(template, dict):
            template = template.get("default")
        if not template:
            raise ChatTemplateError(
                "the tokenizer has no chat template",
                hint="Use the chat model's tokenizer, or give the processor a chat_template.",
            )
        return str(template)

    def _flatten(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message with its text and images as lines of one text; checked by whoever reads it."""
        content = message.get("content")
        if isinstance(content, list):
            content = "\n".join(self._as_text(entry) for entry in content)
        return {"role": message.get("role"), "content": content}

    def _as_text(self, entry: Mapping[str, Any]) -> str:
        if entry.get("type") == "text" and isinstance(entry.get("text"), str):
            return str(entry["text"])
        if entry.get("type") == "image":
            return self.image_token
        raise UsageError(
            f"a message holds {entry!r:.80}",
            hint='Parrot takes {"type": "text", "text": …} and {"type": "image", …}.',
        )

    def _images_of(self, chats: list[list[dict[str, Any]]]) -> list[list[Image.Image]]:
        """The images in each conversation, from memory, files or the web."""
        found, _, _, _ = self._multimodal_inputs_from_conversations(
            chats, {}, load_audio_from_video=False
        )
        loaded = iter(self.image_processor.fetch_images([i for images in found for i in images]))
        return [[next(loaded) for _ in images] for images in found]

    def _encode(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        template: str,
        **options: Any,  # noqa: ANN401
    ) -> _Encoded:
        text, spans = render_with_spans(
            messages, tokenizer=self.tokenizer, template=template, **options
        )
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        answer: list[int] = []
        for token, (start, end) in zip(
            encoding["input_ids"], encoding["offset_mapping"], strict=True
        ):
            copies = self.num_image_tokens if token == self.image_token_id else 1
            ids += [token] * copies
            places += [(start, end)] * copies
            # A token that joins the header's last space to the first word belongs to the words.
            spoken = any(start < last and end > first for first, last in spans)
            answer += [int(spoken)] * copies
        return _Encoded(text=text, ids=ids, places=places, answer=answer)

    def _pad(self, rows: Sequence[_Encoded], *, padding_side: str) -> dict[str, Tensor]:
        if padding_side not in {"left", "right"}:
            raise ValueError(f"padding_side is left or right, not {padding_side!r}")
        pad = self.tokenizer.pad_token_id
        if pad is None:
            raise UsageError(
                "the tokenizer has no padding token",
                hint="Set tokenizer.pad_token to its eos_token.",
            )
        guiding = [
            [int(not spoken and token != self.image_token_id) for token, spoken in row.pairs()]
            for row in rows
        ]
        return {
            "input_ids": _stack([row.ids for row in rows], pad, padding_side),
            "attention_mask": _stack([[1] * len(row.ids) for row in rows], 0, padding_side),
            "guidance_mask": _stack(guiding, 0, padding_side),
        }

    def _labels(self, rows: Sequence[_Encoded], *, padding_side: str) -> Tensor:
        for number, row in enumerate(rows):
            if not any(row.answer):
                raise NothingSupervisedError(
                    f"conversation {number} has no assistant to learn from",
                    hint="Give it an answer, or leave it out.",
                )
        labels = [
            [token if spoken else IGNORED_LABEL for token, spoken in row.pairs()] for row in rows
        ]
        return _stack(labels, IGNORED_LABEL, padding_side)

    def _check_placeholders(
        self, messages: Sequence[Mapping[str, str]], images: int, *, place: str
    ) -> None:
        for number, message in enumerate(messages):
            if message["role"] != "user" and self.image_token in message["content"]:
                raise PlaceholderError(
                    f"{place}, message {number}: {self.image_token} in the words of the "
                    f"{message['role']}",
                    hint="Only users show images.",
                )
        found = sum(message["content"].count(self.image_token) for message in messages)
        _compare(found, images, place=place, token=self.image_token)

    def _prepare(self, image: Image.Image, number: int) -> Image.Image:
        if not isinstance(image, Image.Image):
            raise ImageError(
                f"image {number} is a {type(image).__name__}", hint="Give images as PIL images."
            )
        width, height = image.size
        if min(width, height) < _SMALLEST_SIDE:
            raise ImageError(
                f"image {number} is {width}×{height} pixels: too small to show anything",
                hint=f"Give images of at least {_SMALLEST_SIDE} pixels a side.",
            )
        image = image.convert("RGB")
        if not self.pad_to_square or width == height:
            return image
        side = max(width, height)
        background = tuple(int(mean * 255) for mean in self.image_processor.image_mean)
        square = Image.new("RGB", (side, side), background)
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        return square


def _accepted(options: dict[str, Any]) -> dict[str, Any]:
    """What is left for the template, once options are gone that change nothing here.

    Raises:
        ValueError: if one of those has a value that would change something.
    """
    for name, accepted in _ACCEPTED_OPTIONS.items():
        if options.get(name) not in accepted:
            raise ValueError(f"apply_chat_template of Parrot takes no {name}={options[name]!r}")
    return {name: value for name, value in options.items() if name not in _ACCEPTED_OPTIONS}


def _compare(placeholders: int, images: int, *, place: str, token: str) -> None:
    if placeholders != images:
        raise PlaceholderError(
            f"{place} has {placeholders} {token} for {images} images",
            hint=f"Write one {token} for each image.",
        )


def _count_images(images: Any) -> int:  # noqa: ANN401 - the library takes one, lists, and lists of lists
    flat: Any = [] if images is None else make_flat_list_of_images(images)
    return len(flat)


def _stack(rows: Sequence[Sequence[int]], padding: int, side: str) -> Tensor:
    """Rows of unequal length to int[B, N]."""
    longest = max(len(row) for row in rows)
    padded = torch.full((len(rows), longest), padding, dtype=torch.long)
    for number, row in enumerate(rows):
        start = longest - len(row) if side == "left" else 0
        padded[number, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
    return padded
