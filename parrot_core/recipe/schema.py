"""What a recipe may say: sections and keys as frozen dataclasses.

The paper's values (Table 13, sections 4.1 and D) are the defaults; the language model, the vision
encoder and the data folder have none. What a key means is written under it.
"""

from dataclasses import dataclass, field
from typing import Literal

from parrot_core.languages import PAPER_LANGUAGES
from parrot_core.recipe.values import (
    Count,
    Finite,
    GpuName,
    LanguageCode,
    Minutes,
    Name,
    NoneOrMore,
    NotNegative,
    Positive,
    Seed,
    Share,
)

StageName = Literal["language-model", "1", "2"]
Part = Literal["projector", "experts", "language_model", "vision_encoder"]
Zero = Literal[0, 2, 3]
Packing = Literal["auto", "on", "off"]
Offload = Literal["none", "optimizer", "optimizer_and_parameters"]
Provenance = Literal["published", "measured", "estimated"]

NAMED = "named"
"""Metadata of a field whose table maps names to sections; a section holds its `name`."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """How long a run takes on the hardware that is named beside it."""

    value: Positive
    """Wall-clock hours of both stages together."""
    source: Provenance
    """Whether the paper says so, or it was measured, or only estimated."""
    reference: str = ""
    """Where it is published, how it was measured, or what the estimate assumes."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a benchmark is expected to say, one value per language of the recipe."""

    benchmark: str
    """As `parrot eval` names it, for instance `mmmb`."""
    values: tuple[NotNegative, ...]
    """Per cent, in the order of the languages."""
    source: Literal["published", "measured"]
    """Whose figures these are."""
    reference: str = ""
    """The table of the paper, or the command that measured them."""
    languages: tuple[LanguageCode, ...] = ()
    """Of the values; left out, the recipe's."""


@dataclass(frozen=True, kw_only=True)
class AboutRecipe:
    """What to expect of a recipe; nothing in it changes what is trained."""

    summary: str = ""
    """One line for `parrot recipe list`."""
    hardware: str = ""
    """What it is meant for."""
    hours: Hours | None = None
    scores: tuple[Scores, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExpertsRecipe:
    """The mixture of experts of Equations 2 to 5."""

    enabled: bool = True
    """False trains the same model without router and experts: the LLaVA baseline."""
    count: Count = 6
    """E: one expert per language of the paper (section 4.1)."""
    active: Count | None = None
    """k of Equation 4: experts used per image; left out, all of them."""
    kind: Literal["two_layer", "gated"] = "two_layer"
    """`two_layer` with SiLU (the paper) or `gated` (the authors' released checkpoints)."""
    hidden_size: Count | None = None
    """Width inside an expert; left out, the language model's hidden size."""
    alpha: Finite = 1.0
    """α of Equation 5; the paper gives no value."""
    text_guidance: bool = True
    """False lets the router read the [CLS] token itself instead of Equation 2's attention."""


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The parts that are joined before stage 1."""

    language_model: str
    """A hub name or folder, for instance what stage `language-model` wrote; `./` begins a path that
    is relative to the recipe."""
    vision_encoder: str
    """A hub name, a folder, or `efficientnet-lite0` (from the Python package of that name)."""
    vision_feature_layer: int = -2
    """Which hidden state of a transformer encoder is Z_v of Equation 1."""
    image_size: Count | None = None
    """Side of the square that images are resized to; left out, the encoder's own."""
    projector_layers: Count = 2
    """Linear layers of the projector, with GELU between them."""
    attention: Literal[
        "auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4"
    ] = "auto"
    """Implementation of attention; `auto` takes flash attention 2 or 3 where it is installed."""
    experts: ExpertsRecipe = field(default_factory=ExpertsRecipe)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set with a name, so that stages need not know where it lies."""

    name: str
    """The section's own: `[datasets.NAME]`."""
    file: str
    """JSON, JSONL or Parquet in LLaVA's format, relative to `data.folder`."""
    images: str = "."
    """Image root of its samples, relative to `data.folder`."""
    language: LanguageCode | None = None
    """Of its samples that state none: the log tells loss and routing apart by language."""
    samples: Count | None = None
    """How many it has, as published; only estimates read it, and only where the file is not."""
    text_tokens: Count | None = None
    """Of a sample, on average, images aside; likewise only for estimates."""
    source: str = ""
    """Where it is to be had: what a user reads who does not have it."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Where a run's files lie."""

    folder: str
    """Files named by stages and data sets, and their image roots, are relative to it."""
    registry: str | None = None
    """A TOML file of further data sets, `[NAME]` with the keys of `[datasets.NAME]`; `./` begins a
    path that is relative to the recipe."""


@dataclass(frozen=True, kw_only=True)
class DataUse:
    """A data set in a stage, and how much of it. A text in its place is a name or a file."""

    name: str | None = None
    """Of a data set in `[datasets]`, the registry file, or Table 3 of the paper."""
    file: str | None = None
    """Instead of a name: a file, relative to `data.folder`, as are its images."""
    weight: Positive = 1.0
    """How often each of its samples is seen in an epoch: 2 repeats it, 0.5 draws half of it."""
    samples: Count | None = None
    """Instead of a weight: how many samples are drawn from it; more than it has repeats them."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelRecipe:
    """A small language model trained here on text alone: what stands in for a pretrained one."""

    data: tuple[str, ...]
    """Files of samples without images, relative to `data.folder`."""
    words: str | None = None
    """File of a dictionary, relative to `data.folder`: samples that state their `language` and
    `concept`. Words of a concept begin near each other; left out, they begin anywhere."""
    vocabulary_size: Count = 4096
    hidden_size: Count = 128
    intermediate_size: Count = 384
    layers: Count = 3
    heads: Count = 4
    learning_rate: Positive = 2e-3
    global_batch_size: Count = 64
    steps: Count = 1000
    warmup_steps: NoneOrMore = 100
    adam_beta2: Share = 0.98
    """Decay of AdamW's second moments; small models in few steps want it lower than usual."""
    max_grad_norm: Positive = 1.0


@dataclass(frozen=True, kw_only=True)
class LoraRecipe:
    """Low-rank adapters on the language model, in place of training its own weights."""

    rank: Count = 128
    alpha: Positive = 256.0
    """Updates are scaled by alpha / rank."""
    dropout: Share = 0.05
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Linear layers of every decoder layer that get an adapter."""
    quantisation: Literal["none", "4bit"] = "none"
    """`4bit` holds the frozen weights in four-bit NormalFloat (QLoRA); needs bitsandbytes."""


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Learning rates of single parts; a part that is left out follows the stage's."""

    router: Positive | None = None
    """Of the router alone; left out, that of the experts."""
    projector: Positive | None = None
    experts: Positive | None = None
    language_model: Positive | None = None
    """Of its adapters, where there are any."""
    vision_encoder: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class StageRecipe:
    """One of the two stages of section 3.4 (Algorithm 1); `Stage1Recipe`, `Stage2Recipe`."""

    data: tuple[DataUse, ...]
    """Names or files, or tables of them with `weight` or `samples`."""
    trains: tuple[Part, ...]
    """The parts that learn; all others are frozen."""
    learning_rate: Positive
    learning_rates: LearningRates = field(default_factory=LearningRates)
    global_batch_size: Count
    """Samples per optimiser step, over all processes: pinned, whatever the devices."""
    device_batch_size: Count = 16
    """At most so many samples at once on a device; the rest of its share is accumulated."""
    epochs: Positive = 1.0
    steps: Count | None = None
    """Optimiser steps; where given, it counts instead of `epochs`."""
    warmup_ratio: Share = 0.03
    """Share of the steps in which the learning rate rises; then it falls as a cosine to zero."""
    weight_decay: NotNegative = 0.0
    max_grad_norm: Positive = 1.0

    max_length: Count = 2048
    """Longest sample in tokens, image tokens included."""
    over_long: Literal["drop", "truncate", "error"] = "error"
    """What becomes of a longer one; what is dropped or cut is counted in the log."""
    max_bad_samples: NoneOrMore = 0
    """Broken samples that are left out, and counted, before one stops the run."""
    group_by_length: bool = True
    """Batches of samples that are about equally long."""
    packing: Packing = "auto"
    """The samples of a pass in one row without padding, guidance and attention each sample's own;
    `auto` packs where flash attention is used, whose cost does not grow with the row."""

    zero: Zero = 2
    """ZeRO stage of DeepSpeed; 0 is none. It takes effect with more than one process, or with
    `offload`: alone, a process has nothing to share out."""
    offload: Offload = "none"
    """What is held in main memory instead of the GPU's."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    tf32: bool = True
    """TF32 for what is left in float32, on GPUs that have it."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass instead of keeping them."""
    fused_kernels: bool = True
    """Fused kernels (Liger) where they are installed and the device runs them."""
    lora: LoraRecipe | None = None
    """Adapters instead of the language model's own weights."""

    cache_vision_features: bool = False
    """Encode each image once: exact, since the vision encoder is frozen."""
    vision_feature_dropout: Share = 0.0
    """Share of the vision features' channels that are zeroed while training; for few pictures."""
    save_every: Count = 500
    """Optimiser steps between two checkpoints to resume from."""
    keep: Count = 2
    """How many of the newest checkpoints are kept."""


@dataclass(frozen=True, kw_only=True)
class Stage1Recipe(StageRecipe):
    """Stage 1, modality alignment: Table 13's values for it."""

    trains: tuple[Part, ...] = ("projector",)
    """The parts that learn; all others are frozen, and the experts bypassed."""
    learning_rate: Positive = 1e-3
    global_batch_size: Count = 256


@dataclass(frozen=True, kw_only=True)
class Stage2Recipe(StageRecipe):
    """Stage 2, instruction tuning for multilingual alignment: Table 13's values for it."""

    trains: tuple[Part, ...] = ("projector", "experts", "language_model")
    """The parts that learn; all others are frozen."""
    learning_rate: Positive = 2e-5
    global_batch_size: Count = 128
    device_batch_size: Count = 8
    zero: Zero = 3


@dataclass(frozen=True, kw_only=True)
class LaunchRecipe:
    """What a run is started on."""

    processes: Count | None = None
    """On each node; left out, one per GPU that is found, or a single one."""
    nodes: Count = 1
    gpu: GpuName | None = None
    """The GPU that the recipe is meant for, for instance `A100-80GB`; only estimates read it."""
    loader_workers: NoneOrMore = 4
    """Helpers of each process that decode images."""
    timeout_minutes: Minutes = 30.0
    """How long processes wait for each other before the run is given up."""


@dataclass(frozen=True, kw_only=True)
class LoggingRecipe:
    """What a run tells of itself, beside `log.jsonl`, which is always written."""

    every: Count = 10
    """Optimiser steps between two lines of the log."""
    tensorboard: bool = False
    wandb: bool = False
    wandb_project: str = "parrot"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run is made of."""

    name: Name
    """Its runs lie in a folder of this name."""
    seed: Seed = 0
    languages: tuple[LanguageCode, ...] = PAPER_LANGUAGES
    about: AboutRecipe = field(default_factory=AboutRecipe)
    model: ModelRecipe
    data: DataRecipe
    datasets: tuple[DataSet, ...] = field(default=(), metadata={NAMED: True})
    """Data sets by name, beside those of Table 3 that Parrot knows."""
    language_model: LanguageModelRecipe | None = None
    """The stage before stage 1, for recipes that train their own language model."""
    stage1: Stage1Recipe
    stage2: Stage2Recipe
    launch: LaunchRecipe = field(default_factory=LaunchRecipe)
    logging: LoggingRecipe = field(default_factory=LoggingRecipe)
