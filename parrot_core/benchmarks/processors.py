"""The processor of any image-text-to-text model, and how it wants a question put."""

import logging
from collections.abc import Sequence
from typing import Any

from parrot_core.errors import UsageError

_log = logging.getLogger(__name__)
_VIDEOS = "video_processor"


def load_processor(name: str) -> Any:  # noqa: ANN401 - any processor
    """Loads a model's processor, for pictures and words.

    The processors of Qwen2-VL, LLaVA-OneVision and their kin also take videos, by a part that does
    not load without torchvision. Nobody asks about videos here: without torchvision, that part
    is left out.

    Args:
        name: A folder, or a name on the hub.

    Raises:
        OSError: as transformers does where something is not there.
        ValueError: as transformers does where something cannot be read.
        ImportError: if the processor needs a library that is not there.
    """
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.utils.import_utils import is_torchvision_available

    load_any: Any = AutoProcessor.from_pretrained  # typed only in part
    if is_torchvision_available():
        return load_any(name)
    kind: Any = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(name)), None)
    if kind is None or _VIDEOS not in kind.get_attributes():
        return load_any(name)
    return without_videos(kind).from_pretrained(name)


def without_videos(kind: Any) -> Any:  # noqa: ANN401 - a class of processors
    """Returns a class of processors without the part for videos."""
    parts = [part for part in kind.get_attributes() if part != _VIDEOS]
    return type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda _: list(parts))})


def put_questions(
    processor: Any,  # noqa: ANN401 - any processor
    texts: Sequence[str],
    pictures: Sequence[int],
) -> list[str]:
    """Returns what a model reads: each question in its chat template, pictures first.

    A model without a chat template is none for chats, and reads the placeholders and the words.

    Args:
        processor: The model's.
        texts: The words of each question.
        pictures: How many pictures each has.

    Raises:
        UsageError: if there is neither a chat template nor a placeholder.
    """
    if has_chat_template(processor):
        return [
            processor.apply_chat_template(
                _conversation(text, count), add_generation_prompt=True, tokenize=False
            )
            for text, count in zip(texts, pictures, strict=True)
        ]
    placeholder = getattr(processor, "image_token", None)
    if placeholder is None:
        raise UsageError(
            "the model has no chat template and no placeholder for pictures",
            hint="Save a template beside its processor as chat_template.jinja.",
        )
    return [f"{placeholder * count}\n{text}\n" for text, count in zip(texts, pictures, strict=True)]


def has_chat_template(processor: Any) -> bool:  # noqa: ANN401 - any processor
    """Whether a model says how a chat with it is written."""
    return bool(getattr(processor, "chat_template", None))


def _conversation(text: str, pictures: int) -> list[dict[str, Any]]:
    content: list[dict[str, str]] = [{"type": "image"} for _ in range(pictures)]
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
