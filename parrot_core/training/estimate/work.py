"""How much there is to do: samples, tokens, optimiser steps, operations, hours."""

from collections.abc import Iterable
from dataclasses import dataclass

from parrot_core.recipe import ChosenData, StageRecipe
from parrot_core.training.batches import count_steps
from parrot_core.training.estimate.blueprint import Blueprint, PassCosts

UTILISATION = 0.183
"""Share of a GPU's peak bfloat16 rate that is assumed where nobody says otherwise: with it, the
paper's 7B training comes to the 21 hours that section 4.1 states."""

ASSUMED_TEXT_TOKENS = 300
"""Of a sample whose file is not there and whose length nobody stated."""

LONGEST = 8
"""Text of the longest sample over that of the mean one, where the file is not there: assumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleLengths:
    """What is known of a data set's samples.

    Attributes:
        name: The data set's.
        samples: How many there are in it.
        images: Of a sample, on average.
        text_tokens: Of a sample, on average, the chat's markup included.
        longest_text: Tokens of the longest.
        source: `measured` (its file was read), `published size, estimated length`, or `assumed`.
    """

    name: str
    samples: int
    images: float
    text_tokens: float
    longest_text: float
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a stage has to do.

    Attributes:
        samples: Drawn in all.
        steps: Optimiser steps.
        tokens: Through the language model, image tokens included.
        images: Through the vision encoder.
        operations: Of all passes, recomputation included.
    """

    samples: int
    steps: int
    tokens: float
    images: float
    operations: float

    def hours(self, *, tflops: float, gpus: int, utilisation: float) -> float:
        """Time on so many GPUs of a peak rate of which a share is used."""
        return self.operations / (tflops * 1e12 * gpus * utilisation) / 3600


def drawn_from(data: ChosenData, lengths: SampleLengths) -> float:
    """Samples of an epoch that come from a data set."""
    if data.samples is not None:
        return float(data.samples)
    return lengths.samples * (data.weight or 1.0)


def work_of_stage(
    blueprint: Blueprint,
    costs: PassCosts,
    stage: StageRecipe,
    *,
    mixture: Iterable[tuple[float, SampleLengths]],
    image_tokens: int,
) -> Work:
    """Adds up a stage.

    Args:
        blueprint: The model.
        costs: Of a pass over samples of mean length.
        stage: What learns, for how long.
        mixture: Samples drawn in an epoch, with what is known of them.
        image_tokens: V.
    """
    mixture = list(mixture)
    per_epoch = sum(drawn for drawn, _ in mixture)
    if stage.steps is not None:
        steps, samples = stage.steps, stage.steps * stage.global_batch_size
    else:
        steps = count_steps(
            round(per_epoch), global_batch_size=stage.global_batch_size, epochs=stage.epochs
        )
        samples = round(per_epoch * stage.epochs)
    images = sum(drawn * lengths.images for drawn, lengths in mixture) / per_epoch
    text = sum(drawn * lengths.text_tokens for drawn, lengths in mixture) / per_epoch
    learns = {name: part.trainable > 0 for name, part in blueprint.parts.items()}
    whole = learns["language_model"] and stage.lora is None
    # Forward; backward to the activations, which the projector needs; backward to the weights.
    decoder = 1.0 + 1.0 + whole + stage.gradient_checkpointing
    head = 1.0 + 1.0 + whole
    bridge = 3.0 if learns["projector"] or learns.get("experts") else 1.0
    encoded = 3.0 if learns["vision_encoder"] else 1.0
    if stage.cache_vision_features:
        encoded = min(1.0, per_epoch / samples)  # later epochs read what the first one kept
    one = (
        images * (encoded * costs.vision_operations + bridge * costs.bridge_operations)
        + decoder * costs.decoder_operations
        + head * text * costs.head_operations
    )
    return Work(
        samples=samples,
        steps=steps,
        tokens=samples * (images * image_tokens + text),
        images=samples * images,
        operations=samples * one,
    )
