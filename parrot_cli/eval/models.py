"""Which answerer a model needs: Parrot's own way of asking, or that of transformers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parrot_core.benchmarks.models import LocalAnswerer, load_transformers_model, weights_digest

if TYPE_CHECKING:
    from PIL.Image import Image

_PARROT_TYPES = ("parrot", "parrot_qwen2")


def load_answerer(
    name: str, *, batch_size: int, max_new_tokens: int, device: str | None
) -> LocalAnswerer:
    """Loads a checkpoint or hub model for answering.

    Raises:
        MissingError: if there is none that can be loaded.
    """
    if _model_type(Path(name)) in _PARROT_TYPES:
        return _load_parrot(
            Path(name), batch_size=batch_size, max_new_tokens=max_new_tokens, device=device
        )
    import parrot_core.model  # noqa: F401 - makes Parrot known to the Auto classes, for hub names

    return load_transformers_model(
        name, batch_size=batch_size, max_new_tokens=max_new_tokens, device=device
    )


def _model_type(folder: Path) -> str | None:
    config = folder / "config.json"
    if not config.is_file():
        return None
    try:
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type"))
    except ValueError:
        return None


def _load_parrot(
    folder: Path, *, batch_size: int, max_new_tokens: int, device: str | None
) -> LocalAnswerer:
    import torch
    import transformers

    from parrot_core.generation import answer, ask, load_for_use, weigh

    model, processor = load_for_use(folder, device=device)

    def answer_batch(texts: Sequence[str], images: Sequence[Sequence["Image"]]) -> list[str]:
        conversations = [
            ask(text, images=pictures) for text, pictures in zip(texts, images, strict=True)
        ]
        answers = answer(model, processor, conversations, max_new_tokens=max_new_tokens)
        return [one.text for one in answers]

    def weigh_batch(
        texts: Sequence[str],
        images: Sequence[Sequence["Image"]],
        candidates: Sequence[Sequence[str]],
    ) -> list[list[float]]:
        conversations = [
            ask(text, images=pictures) for text, pictures in zip(texts, images, strict=True)
        ]
        return weigh(model, processor, conversations, candidates)

    return LocalAnswerer(
        identity={
            "name": str(folder),
            "weights": weights_digest(folder),
            "max_new_tokens": max_new_tokens,
            "decoding": "greedy",
            "dtype": str(model.dtype),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        batch_size=batch_size,
        answer_batch=answer_batch,
        weigh_batch=weigh_batch,
    )
