"""A stage on given processes, and variants of it, so that they can be compared."""

import copy
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from parrot_core.recipe import BatchShare, Recipe, StageRecipe, chosen_data, share_batch
from parrot_core.training.estimate.blueprint import Blueprint, PassCosts
from parrot_core.training.estimate.configs import model_config
from parrot_core.training.estimate.lengths import find_tokenizer, sample_lengths
from parrot_core.training.estimate.memory import Batch, Engine, Memory, memory_of_step
from parrot_core.training.estimate.work import SampleLengths, drawn_from

_OTHER_BLUEPRINT = {"lora", "trains", "precision"}
_ENGINES: tuple[dict[str, Any], ...] = (
    {"zero": 0, "offload": "none"},
    {"zero": 2, "offload": "none"},
    {"zero": 3, "offload": "none"},
    {"zero": 2, "offload": "optimizer"},
    {"zero": 3, "offload": "optimizer"},
    {"zero": 3, "offload": "optimizer_and_parameters"},
)


class Plan:
    """A stage on given processes.

    Args:
        recipe: What is to be trained.
        stage: 1 or 2.
        processes: On each node.
        read_data: Whether to read the data sets' files; else lengths are those stated or assumed.

    Attributes:
        settings: The stage's section.
        processes: On all nodes.
        blueprint: The model.
        origins: Where the backbones' configs were found.
        mixture: Samples drawn in an epoch from each data set, with what is known of them.
        mean_tokens: Of a sample, image tokens included.
        longest: Tokens of the longest sample.

    Raises:
        MissingError: if a backbone's config, or the size of a data set, is nowhere to be found.
    """

    def __init__(
        self, recipe: Recipe, stage: int, *, processes: int, read_data: bool = True
    ) -> None:
        self.settings: StageRecipe = recipe.stage1 if stage == 1 else recipe.stage2
        self.processes = processes * recipe.launch.nodes
        self.nodes = recipe.launch.nodes
        config, self.origins = model_config(recipe, experts=stage == 2)
        self.blueprint = Blueprint(config, self.settings)
        self.mixture = _mixture(recipe, stage, self.settings, read=read_data)
        drawn = sum(count for count, _ in self.mixture)
        self._images = sum(count * lengths.images for count, lengths in self.mixture) / drawn
        text = sum(count * lengths.text_tokens for count, lengths in self.mixture) / drawn
        visual = config.num_image_tokens
        longest = max(
            math.ceil(lengths.images) * visual + lengths.longest_text for _, lengths in self.mixture
        )
        self.mean_tokens = min(self.settings.max_length, round(self._images * visual + text))
        self.longest = min(self.settings.max_length, round(longest))
        self._costs: dict[int, PassCosts] = {}

    @property
    def engine(self) -> Engine:
        """How it is executed: alone and without offload, a process has nothing to share out."""
        together = self.processes > 1 or self.settings.offload != "none"
        return Engine(
            zero=self.settings.zero if together else 0,
            offload=self.settings.offload,
            processes=self.processes,
            nodes=self.nodes,
        )

    @property
    def engine_name(self) -> str:
        """As people call it."""
        engine = self.engine
        offload = "" if engine.offload == "none" else f", offload {engine.offload}"
        return f"zero {engine.zero}{offload}"

    @property
    def share(self) -> BatchShare:
        """What each process does for an optimiser step."""
        return share_batch(
            self.settings.global_batch_size,
            processes=self.processes,
            at_most=self.settings.device_batch_size,
        )

    def costs(self, tokens: int) -> PassCosts:
        """Of a pass over samples of so many tokens."""
        if tokens not in self._costs:
            self._costs[tokens] = self.blueprint.measure(tokens)
        return self._costs[tokens]

    def memory(self, *, tokens: int | None = None) -> Memory:
        """What a step holds over samples of so many tokens; the longest if it is not said."""
        tokens = tokens or self.longest
        samples = self.share.device_batch_size
        text = max(0.0, tokens - self._images * self.blueprint.config.num_image_tokens)
        return memory_of_step(
            self.blueprint,
            self.costs(tokens),
            self.settings,
            engine=self.engine,
            batch=Batch(samples=samples, images=samples * self._images, supervised=samples * text),
        )

    def variant(self, *, processes: int | None = None, **settings: Any) -> "Plan":  # noqa: ANN401
        """The same stage with other settings, or on another number of processes."""
        other = copy.copy(self)
        other.settings = dataclasses.replace(self.settings, **settings)
        other.processes = processes or self.processes
        if settings.keys() & _OTHER_BLUEPRINT:
            other.blueprint = Blueprint(self.blueprint.config, other.settings)
        return other

    def engines(self) -> Iterator["Plan"]:
        """The stage under every ZeRO stage and offload that there is for it."""
        lora = self.settings.lora
        for settings in _ENGINES:
            alone = self.processes == 1 and settings["offload"] == "none"
            if alone and settings["zero"]:
                continue
            if lora is not None and lora.quantisation != "none" and settings["zero"] == 3:
                continue
            if lora is not None and lora.quantisation != "none" and settings["offload"] != "none":
                continue
            yield self.variant(**settings)


def _mixture(
    recipe: Recipe, stage: int, settings: StageRecipe, *, read: bool
) -> list[tuple[float, SampleLengths]]:
    count_tokens = find_tokenizer(recipe.model.language_model)
    samples = settings.steps * settings.global_batch_size if settings.steps else None
    mixture = []
    for data in chosen_data(recipe, stage):
        lengths = sample_lengths(
            data,
            count_tokens=count_tokens,
            otherwise=samples if read else samples or settings.global_batch_size,
            read=read,
        )
        mixture.append((drawn_from(data, lengths), lengths))
    return mixture
