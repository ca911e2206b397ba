"""Models on this machine as answerers: batches, pictures decoded while the model is busy.

The only module of the benchmarks that loads torch, and only when a model is.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parrot_core.benchmarks.base import ImageSource, Prompt, refuse_candidates
from parrot_core.benchmarks.processors import has_chat_template, load_processor, put_questions
from parrot_core.errors import MissingError, ParrotError, UsageError
from parrot_core.machine import gpu_memory

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger(__name__)

_PARTS = ("*.safetensors", "*config.json", "tokenizer*.json", "*.jinja")
_DECODERS = 4  # threads; Pillow decodes without Python's lock
_FEWER = "Give a smaller --batch-size; what was answered is kept."

AnswerBatch = Callable[[Sequence[str], Sequence[Sequence["Image"]]], Sequence[str]]
"""Words and pictures of each prompt of a batch; returns an answer for each."""

WeighBatch = Callable[
    [Sequence[str], Sequence[Sequence["Image"]], Sequence[Sequence[str]]], Sequence[Sequence[float]]
]
"""The same and the candidates of each prompt; returns the log-likelihood of each."""


@dataclass(kw_only=True)
class LocalAnswerer:
    """A model in this process.

    Args:
        identity: What its answers depend on; `name` is what tables call it.
        batch_size: How many prompts it takes at once.
        answer_batch: The model.
        weigh_batch: The model, asked how likely given answers are; None if it cannot say.
    """

    identity: dict[str, object]
    batch_size: int
    answer_batch: AnswerBatch
    weigh_batch: WeighBatch | None = None
    _ahead: dict[str, "Future[list[Image]]"] = field(default_factory=dict, init=False)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_DECODERS), init=False
    )

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Begins to decode the pictures of prompts whose turn comes next."""
        for prompt in prompts:
            if prompt.key not in self._ahead:
                self._ahead[prompt.key] = self._pool.submit(decode_pictures, prompt)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[str]:
        """Yields the answers to one batch.

        Raises:
            ImageError: with the question, if a picture cannot be decoded.
            UsageError: if likelihoods are asked of a model that has none to tell.
            GpuFullError: if the GPU's memory is too small for the batch.
        """
        self.prepare(prompts)
        images = [self._ahead.pop(prompt.key).result() for prompt in prompts]
        texts = [prompt.text for prompt in prompts]
        if not any(prompt.candidates for prompt in prompts):
            with gpu_memory(_FEWER):
                answers = self.answer_batch(texts, images)
            yield from answers
            return
        if self.weigh_batch is None:
            refuse_candidates(prompts, name=self.identity["name"])
            return
        options = [list(prompt.candidates.values()) for prompt in prompts]
        with gpu_memory(_FEWER):
            weighed = self.weigh_batch(texts, images, options)
        for prompt, weights in zip(prompts, weighed, strict=True):
            letters = list(prompt.candidates)
            yield letters[weights.index(max(weights))]


def decode_pictures(prompt: Prompt) -> "list[Image]":
    """Returns the pictures of a prompt, upright and in RGB.

    Raises:
        UsageError: with the question's key, if one cannot be decoded.
    """
    return [_decode(image, key=prompt.key) for image in prompt.images]


def _decode(source: ImageSource, *, key: str) -> "Image":
    from parrot_core.data.images import open_image

    try:
        return open_image(source.load())
    except ParrotError as error:
        raise UsageError(f"the picture of {key}: {error.problem}", hint=error.hint) from error


def load_transformers_model(
    name: str,
    *,
    batch_size: int = 8,
    max_new_tokens: int = 512,
    device: str | None = None,
    dtype: str = "auto",
) -> LocalAnswerer:
    """Loads any image-text-to-text model of transformers as an answerer.

    Safetensors only and no code from the hub; a hub name is fetched because the user named it.

    Args:
        name: A folder, or a name on the hub.
        batch_size: Prompts at once.
        max_new_tokens: Longest answer.
        device: Where to; left out, the first GPU, or else the CPU.
        dtype: As `from_pretrained` takes it.

    Raises:
        MissingError: if there is no such model, or its weights are no safetensors.
        UsageError: if it has neither a chat template nor a placeholder for pictures.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    if _is_a_missing_folder(name):
        raise MissingError(
            f"no such model: {name}", hint="Name a checkpoint folder, or owner/name on the hub."
        )
    load_model: Any = AutoModelForImageTextToText.from_pretrained
    try:
        processor = load_processor(name)
        model = load_model(name, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingError(
            f"cannot load the model {name}: {first}",
            hint="Name a folder or hub model that AutoModelForImageTextToText loads.",
        ) from error
    with gpu_memory("Give another --device, or --device cpu."):
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    return transformers_answerer(
        model,
        processor,
        name=name,
        weights=weights_digest(Path(name)) or str(getattr(model.config, "_commit_hash", None)),
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
    )


def _is_a_missing_folder(name: str) -> bool:
    """Whether a name cannot be the hub's, or its first part is a folder here: then it is a path."""
    path = Path(name)
    if path.is_dir():
        return False
    return name.startswith((".", "/", "~")) or len(path.parts) != 2 or path.parent.is_dir()


def transformers_answerer(
    model: Any,  # noqa: ANN401 - any model with `generate`
    processor: Any,  # noqa: ANN401 - any processor with a chat template
    *,
    name: str,
    weights: str,
    batch_size: int = 8,
    max_new_tokens: int = 512,
) -> LocalAnswerer:
    """Makes an answerer of a loaded model: greedy decoding, padding on the left.

    Args:
        model: In evaluation mode.
        processor: The model's.
        name: What tables call it.
        weights: Digest of its weights, or the hub's revision.
        batch_size: Prompts at once.
        max_new_tokens: Longest answer.

    Raises:
        UsageError: if the processor has neither a chat template nor a placeholder for pictures.
    """
    import torch
    import transformers

    put_questions(processor, [""], [1])  # refuses at once what could not be asked later
    if not has_chat_template(processor):
        _log.warning("%s has no chat template: it reads the pictures and the bare question", name)
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token

    def answer_batch(texts: Sequence[str], images: Sequence[Sequence["Image"]]) -> list[str]:
        inputs = processor(
            text=put_questions(processor, texts, [len(pictures) for pictures in images]),
            images=[list(pictures) for pictures in images if pictures] or None,
            padding=True,
            return_tensors="pt",
        ).to(model.device)
        inputs = {
            key: value.to(model.dtype) if torch.is_floating_point(value) else value
            for key, value in inputs.items()
        }
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=processor.tokenizer.pad_token_id,
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        decoded = processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [text.strip() for text in decoded]

    return LocalAnswerer(
        identity={
            "name": name,
            "weights": weights,
            "max_new_tokens": max_new_tokens,
            "decoding": "greedy",
            "asked_by": "chat template" if has_chat_template(processor) else "bare question",
            "dtype": str(model.dtype),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        batch_size=batch_size,
        answer_batch=answer_batch,
    )


def weights_digest(folder: Path) -> str | None:
    """Returns the SHA-256 of a checkpoint's weights and settings; None for what is no folder."""
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    files = [path for pattern in _PARTS for path in folder.glob(pattern)]
    for path in sorted(files):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]
