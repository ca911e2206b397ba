"""What a stage of a recipe needs: parameters, memory, steps, hours; and what to change for less."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from parrot_core.errors import MissingError
from parrot_core.recipe import (
    LoraRecipe,
    Recipe,
    StageRecipe,
    Zero,
    chosen_data,
    share_batch,
)
from parrot_core.recipe.hardware import GPUS
from parrot_core.training.estimate.blueprint import Blueprint, PartSize, PassCosts
from parrot_core.training.estimate.configs import model_config
from parrot_core.training.estimate.lengths import find_tokenizer, sample_lengths
from parrot_core.training.estimate.memory import Batch, Engine, Memory, memory_of_step
from parrot_core.training.estimate.work import (
    UTILISATION,
    SampleLengths,
    Work,
    drawn_from,
    work_of_stage,
)

_MOST_PROCESSES = 1024
_OFFLOADING = (
    Engine(zero=2, offload="optimizer", processes=1),
    Engine(zero=3, offload="optimizer", processes=1),
    Engine(zero=3, offload="optimizer_and_parameters", processes=1),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a stage needs on given hardware.

    Attributes:
        stage: 1 or 2.
        origins: Where the backbones' configs were found.
        parts: Parameters by part.
        lengths: What is known of the data sets' samples.
        work: Samples, steps, tokens, operations.
        engine: How the stage is executed.
        device_batch_size: Samples of a pass on a device.
        accumulation: Passes per optimiser step.
        longest: Tokens of the longest sample.
        memory: At the worst moment of a step over the longest samples.
        alternatives: The same with other ZeRO stages and offloads, by their names.
        utilisation: Share of the peak rate that `hours` assume.
        gpu: The GPU that it is for; None if nobody named one.
        hours: By GPU.
    """

    stage: int
    origins: dict[str, str]
    parts: dict[str, PartSize]
    lengths: tuple[SampleLengths, ...]
    work: Work
    engine: Engine
    device_batch_size: int
    accumulation: int
    longest: int
    memory: Memory
    alternatives: dict[str, Memory]
    utilisation: float
    gpu: str | None
    hours: dict[str, float]


def estimate_stage(
    recipe: Recipe,
    stage: int,
    *,
    gpu: str | None = None,
    processes: int | None = None,
    utilisation: float = UTILISATION,
) -> Estimate:
    """Estimates a stage without loading a weight.

    Args:
        recipe: What is to be trained.
        stage: 1 or 2.
        gpu: Name of a GPU; left out, the recipe's.
        processes: On each node; left out, the recipe's, or one.
        utilisation: Share of the GPUs' peak bfloat16 rate that is reached.

    Raises:
        MissingError: if a backbone's config, or the size of a data set, is nowhere to be found.
        UsageError: if the processes do not divide the global batch, or a setting has no meaning.
    """
    plan = _Plan(recipe, stage, processes=processes or recipe.launch.processes or 1)
    engine = plan.engine()
    work = work_of_stage(
        plan.blueprint,
        plan.costs(plan.mean_tokens),
        plan.settings,
        mixture=plan.mixture,
        image_tokens=plan.blueprint.config.num_image_tokens,
    )
    share = share_batch(
        plan.settings.global_batch_size,
        processes=engine.processes,
        at_most=plan.settings.device_batch_size,
    )
    names = GPUS if gpu is None and recipe.launch.gpu is None else [gpu or recipe.launch.gpu or ""]
    return Estimate(
        stage=stage,
        origins=plan.origins,
        parts=plan.blueprint.parts,
        lengths=tuple(lengths for _, lengths in plan.mixture),
        work=work,
        engine=engine,
        device_batch_size=share.device_batch_size,
        accumulation=share.accumulation,
        longest=plan.longest,
        memory=plan.memory(engine),
        alternatives=dict(plan.alternatives()),
        utilisation=utilisation,
        gpu=gpu or recipe.launch.gpu,
        hours={
            name: work.hours(
                tflops=GPUS[name].bfloat16_tflops, gpus=engine.processes, utilisation=utilisation
            )
            for name in names
        },
    )


def check_memory(
    recipe: Recipe, stage: int, *, processes: int, gpu_bytes: float, gpu: str
) -> str | None:
    """Refuses a stage that cannot fit into the GPUs, before anything is loaded.

    A stage whose batches of mean length fit, but whose longest may not, is only warned of.

    Args:
        recipe: What is to be trained.
        stage: 1 or 2.
        processes: On each node.
        gpu_bytes: Memory of each GPU.
        gpu: What to call it.

    Returns:
        The warning, or None if all fits.

    Raises:
        MissingError: saying how much is missing and what would fit, in numbers.
    """
    plan = _Plan(recipe, stage, processes=processes)
    longest = plan.memory(plan.engine()).gpu
    if longest <= gpu_bytes:
        return None
    needed = plan.memory(plan.engine(), tokens=plan.mean_tokens).gpu
    if needed <= gpu_bytes:
        return (
            f"stage {stage} needs about {_gb(longest)} of each {gpu} for a batch of the longest "
            f"samples, {plan.longest} tokens, and there are {_gb(gpu_bytes)}: lower "
            f"stage{stage}.device_batch_size if it runs out of memory"
        )
    ways = [f"{way}: {_gb(size)}" for way, size in plan.ways_to_fit(gpu_bytes)]
    raise MissingError(
        f"stage {stage} needs about {_gb(needed)} on each of {plan.processes} × {gpu}, "
        f"which has {_gb(gpu_bytes)}",
        hint=f"It fits with {'; or with '.join(ways)}."
        if ways
        else "No setting of this recipe fits; take a smaller language model.",
    )


class _Plan:
    """A stage on given processes, so that variants of it can be compared."""

    def __init__(self, recipe: Recipe, stage: int, *, processes: int) -> None:
        self.recipe = recipe
        self.stage = stage
        self.settings: StageRecipe = recipe.stage1 if stage == 1 else recipe.stage2
        self.processes = processes * recipe.launch.nodes
        config, self.origins = model_config(recipe, experts=stage == 2)
        self.blueprint = Blueprint(config, self.settings)
        count_tokens = find_tokenizer(recipe.model.language_model)
        steps = self.settings.steps
        otherwise = None if steps is None else steps * self.settings.global_batch_size
        self.mixture: list[tuple[float, SampleLengths]] = []
        for data in chosen_data(recipe, stage):
            lengths = sample_lengths(data, count_tokens=count_tokens, otherwise=otherwise)
            self.mixture.append((drawn_from(data, lengths), lengths))
        drawn = sum(count for count, _ in self.mixture)
        images = sum(count * lengths.images for count, lengths in self.mixture) / drawn
        text = sum(count * lengths.text_tokens for count, lengths in self.mixture) / drawn
        visual = config.num_image_tokens
        self.mean_tokens = min(self.settings.max_length, round(images * visual + text))
        self.longest = min(
            self.settings.max_length,
            round(
                max(
                    math.ceil(lengths.images) * visual + lengths.longest_text
                    for _, lengths in self.mixture
                )
            ),
        )
        self._images = images
        self._costs: dict[int, PassCosts] = {}

    def costs(self, tokens: int) -> PassCosts:
        """Of a pass over samples of so many tokens."""
        if tokens not in self._costs:
            self._costs[tokens] = self.blueprint.measure(tokens)
        return self._costs[tokens]

    def engine(self) -> Engine:
        """The recipe's; alone, and without offload, a process has nothing to share out."""
        together = self.processes > 1 or self.settings.offload != "none"
        return Engine(
            zero=self.settings.zero if together else 0,
            offload=self.settings.offload,
            processes=self.processes,
            nodes=self.recipe.launch.nodes,
        )

    def memory(
        self, engine: Engine, *, blueprint: Blueprint | None = None, tokens: int | None = None
    ) -> Memory:
        """What a step holds over samples of so many tokens; the longest if it is not said."""
        settings, tokens = self.settings, tokens or self.longest
        share = share_batch(
            settings.global_batch_size,
            processes=engine.processes,
            at_most=settings.device_batch_size,
        )
        samples = share.device_batch_size
        visual = self.blueprint.config.num_image_tokens
        text = max(0.0, tokens - self._images * visual)
        return memory_of_step(
            blueprint or self.blueprint,
            self.costs(tokens),
            settings,
            engine=engine,
            batch=Batch(samples=samples, images=samples * self._images, supervised=samples * text),
        )

    def alternatives(self) -> Iterator[tuple[str, Memory]]:
        """Every ZeRO stage and offload that there is."""
        if self.processes == 1:
            yield "zero 0", self.memory(self._without_offload(0))
        else:
            for engine in (
                self._without_offload(0),
                self._without_offload(2),
                self._without_offload(3),
            ):
                yield f"zero {engine.zero}", self.memory(engine)
        if self.settings.lora is not None and self.settings.lora.quantisation != "none":
            return  # four-bit weights are neither shared out nor offloaded
        for offloading in _OFFLOADING:
            engine = dataclasses.replace(
                offloading, processes=self.processes, nodes=self.recipe.launch.nodes
            )
            name = f"zero {engine.zero}, offload {engine.offload}"
            yield name, self.memory(engine)

    def _without_offload(self, zero: Zero) -> Engine:
        return dataclasses.replace(self.engine(), zero=zero, offload="none")

    def ways_to_fit(self, gpu_bytes: float) -> Iterator[tuple[str, float]]:
        """Changes of the recipe, one at a time, with which the stage fits; the mildest first."""
        section = f"stage{self.stage}"
        if not self.settings.gradient_checkpointing:
            yield from self._way(
                f"{section}.gradient_checkpointing=true",
                gpu_bytes,
                {"gradient_checkpointing": True},
            )
        for size in (8, 4, 2, 1):
            if size < self.settings.device_batch_size:
                way = list(
                    self._way(
                        f"{section}.device_batch_size={size}",
                        gpu_bytes,
                        {"device_batch_size": size},
                    )
                )
                yield from way
                if way:
                    break
        for name, memory in self.alternatives():
            if memory.gpu <= gpu_bytes and "offload" in name:
                yield f"{section}: {name} ({_gb(memory.host)} of main memory)", memory.gpu
                break
        more = self.processes * 2
        while more <= min(_MOST_PROCESSES, self.settings.global_batch_size):
            engine = dataclasses.replace(self.engine(), zero=self.settings.zero, processes=more)
            if self.settings.global_batch_size % more == 0:
                memory = self.memory(engine)
                if memory.gpu <= gpu_bytes:
                    yield f"{more} GPUs", memory.gpu
                    break
            more *= 2
        if "language_model" in self.settings.trains and self.settings.lora is None:
            yield from self._adapted(gpu_bytes)

    def _adapted(self, gpu_bytes: float) -> Iterator[tuple[str, float]]:
        for lora, words in (
            (LoraRecipe(), "adapters"),
            (LoraRecipe(quantisation="4bit"), "adapters on 4-bit weights"),
        ):
            settings = dataclasses.replace(self.settings, lora=lora, zero=0)
            blueprint = Blueprint(self.blueprint.config, settings)
            needed = self.memory(self._without_offload(0), blueprint=blueprint).gpu
            if needed <= gpu_bytes:
                yield f"{words} ([stage{self.stage}.lora])", needed
                return

    def _way(
        self, words: str, gpu_bytes: float, change: dict[str, object]
    ) -> Iterator[tuple[str, float]]:
        before = self.settings
        self.settings = dataclasses.replace(before, **change)  # type: ignore[arg-type]
        try:
            needed = self.memory(self.engine()).gpu
        finally:
            self.settings = before
        if needed <= gpu_bytes:
            yield words, needed


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
