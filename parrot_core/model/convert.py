"""Converting a published checkpoint to Parrot's own format, with proof that nothing was lost."""

import gc
from dataclasses import asdict, dataclass
from os import fspath
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parrot_core.errors import UsageError
from parrot_core.model.checkpoint import load_parrot
from parrot_core.model.errors import CheckpointError
from parrot_core.model.modeling import ParrotForConditionalGeneration
from parrot_core.model.processing import ParrotProcessor
from parrot_core.model.sources import Source

_QUESTIONS = ("<image>\nWhat is in the picture?", "<image>\n图中有什么", "Merhaba!")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What was converted, and how far the copy is from the original.

    Attributes:
        source: What was read.
        destination: The folder that was written.
        parameters: Weights in the model.
        dtype: Their precision.
        logits: Logits that were compared, on two questions about a picture and one without.
        max_difference: The largest difference of any logit between original and copy.
    """

    source: str
    destination: str
    parameters: int
    dtype: str
    logits: int
    max_difference: float

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return asdict(self)


def convert_checkpoint(
    source: Source,
    destination: Path,
    *,
    vision_encoder: Source | None = None,
    tolerance: float = 1e-4,
) -> Conversion:
    """Writes a checkpoint in Parrot's own format, loads the copy, and compares its logits.

    The original leaves memory before the copy is loaded.

    Args:
        source: A folder or hub name, as for `load_parrot`.
        destination: A folder that does not exist or is empty.
        vision_encoder: As for `load_parrot`.
        tolerance: Largest difference of a logit that rounding excuses.

    Raises:
        UsageError: if the destination has files in it.
        CheckpointError: if the source cannot be loaded, or the copy computes something else.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(
            f"{destination} is not an empty folder", hint="Name a folder that is not there yet."
        )
    model, processor = load_parrot(source, vision_encoder=vision_encoder)
    before = _logits(model, processor)
    model.save_pretrained(destination)
    processor.save_pretrained(destination)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    dtype = str(model.dtype).removeprefix("torch.")
    del model, processor
    gc.collect()
    after = _logits(*load_parrot(destination))
    difference = float((before - after).abs().max())
    if not difference <= tolerance:  # a NaN is no proof, either
        raise CheckpointError(
            f"the copy in {destination} computes other logits, by up to {difference:.3g}",
            hint="Do not use the copy; please report this with the source's config.json.",
        )
    return Conversion(
        source=fspath(source),
        destination=fspath(destination),
        parameters=parameters,
        dtype=dtype,
        logits=before.numel(),
        max_difference=difference,
    )


@torch.no_grad()
def _logits(model: ParrotForConditionalGeneration, processor: ParrotProcessor) -> Tensor:
    """Logits of a few prompts at every position, float32, in one row."""
    picture = Image.radial_gradient("L").resize((64, 48)).convert("RGB")
    found = []
    for question in _QUESTIONS:
        batch = processor.encode_conversations(
            [[{"role": "user", "content": question}]],
            images=[[picture] * question.count("<image>")],
            add_generation_prompt=True,
        ).to(model.device)
        if "pixel_values" in batch:
            batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
        found.append(model(**batch).logits.float().flatten().cpu())
    return torch.cat(found)
