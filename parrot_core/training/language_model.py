"""The stage before stage 1 of recipes without a pretrained language model: one from text alone.

It stands in for the Qwen models of the paper where there is no model hub. The architecture is
theirs (Qwen2); the tokenizer is byte-level BPE on the data's own text.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from parrot_core.data.collate import Collator
from parrot_core.data.dataset import SampleSet
from parrot_core.data.samples import IMAGE_PLACEHOLDER, Sample, parse_sample, read_records
from parrot_core.errors import UsageError
from parrot_core.model import ParrotProcessor
from parrot_core.recipe import LanguageModelRecipe, Recipe
from parrot_core.training.batches import Batch
from parrot_core.training.checkpoints import Checkpoint
from parrot_core.training.loop import train
from parrot_core.training.resuming import Runs, identity_of
from parrot_core.training.runs import log_file, save_run
from parrot_core.training.settings import Engine, Progress, Run, Schedule
from parrot_core.training.vision import efficientnet_lite0_images
from parrot_core.training.world import World, launcher_variables

logger = logging.getLogger(__name__)

USER, ASSISTANT, END, PADDING = "<|user|>", "<|assistant|>", "<|end|>", "<|padding|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|user|>{{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""One special token a side, so that turns are short; a system prompt reads as the user's words."""

_COLONS = (":", "\uff1a")  # as in Chinese
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")  # as in Chinese and Arabic

_MAX_POSITIONS = 512
_ANY_SIZE = 32
_WEIGHT_OF_NAMES = 3  # against keywords, which several concepts share
_SHARE_OF_LANGUAGE = 0.7  # against concepts
_SAVED_EVERY = 1000  # optimiser steps between two checkpoints


def train_language_model(
    recipe: Recipe,
    *,
    output: Path,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_resume: Callable[[Checkpoint], None] | None = None,
) -> Path:
    """Trains a recipe's small language model on text, in one process.

    Args:
        recipe: Its `[language_model]` says what to build and how to train it.
        output: Folder for the model, its tokenizer, `log.jsonl` and `run.json`.
        resume: Go on from the newest whole checkpoint of a run that was cut off.
        on_progress: Called after every optimiser step.
        on_resume: Called with the checkpoint that the run goes on from.

    Returns:
        The folder, which loads as any language model of the library does.

    Raises:
        ParrotError: if the recipe has no such section, or something it names is missing or wrong.
        Stopped: if the process was asked to stop; the run is saved.
    """
    settings = recipe.language_model
    if settings is None:
        raise UsageError(
            f"the recipe {recipe.name} trains no language model",
            hint=f"It takes {recipe.model.language_model}; begin with --stage 1.",
        )
    if launcher_variables(os.environ):
        raise UsageError(
            "the stage language-model trains in one process",
            hint="Start it without a launcher, and without --processes.",
        )
    with Runs(output, world=World()).open() as runs:
        _train(recipe, settings, runs, resume=resume, on_progress=on_progress, on_resume=on_resume)
    return output


def _train(
    recipe: Recipe,
    settings: LanguageModelRecipe,
    runs: Runs,
    *,
    resume: bool,
    on_progress: Callable[[Progress], None] | None,
    on_resume: Callable[[Checkpoint], None] | None,
) -> None:
    samples = SampleSet(settings.data, root=Path(recipe.data.folder))
    if samples.images:
        raise UsageError(
            f"{', '.join(settings.data)} has images; this stage learns from text alone",
            hint="Name files of samples without `image`.",
        )
    identity = identity_of(
        recipe,
        "language-model",
        data=samples.identity(),
        start="",
        zero=0,
        processes=1,
    )
    checkpoint = runs.find(identity, resume=resume)
    if runs.finished:
        return
    if checkpoint is not None and on_resume is not None:
        on_resume(checkpoint)
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(_texts(samples), vocabulary_size=settings.vocabulary_size)
    model = Qwen2ForCausalLM(_config(settings, tokenizer))
    if settings.words is not None:
        _begin_with_word_vectors(model, tokenizer, samples.root / settings.words)
    _begin_with_matching_heads(model)

    # Text is encoded as it will be beside pictures; which image processor it is does not matter.
    processor = ParrotProcessor(efficientnet_lite0_images(_ANY_SIZE), tokenizer)
    encode = Collator(processor, root=samples.root, max_length=_MAX_POSITIONS)
    names = NamesInQuestions(tokenizer)

    def collate(batch: list[Sample]) -> Batch:
        encoded = encode(batch)
        names.supervise(encoded["input_ids"], encoded["labels"])
        return encoded

    after = checkpoint.step if checkpoint is not None else 0
    with log_file(runs.output, after=after) as log:
        trained = train(
            model,
            samples,
            collate=collate,
            schedule=Schedule(
                learning_rate=settings.learning_rate,
                global_batch_size=settings.global_batch_size,
                steps=settings.steps,
                warmup_steps=settings.warmup_steps,
                adam_beta2=settings.adam_beta2,
                max_grad_norm=settings.max_grad_norm,
                group_by_length=False,  # samples of one length are of one kind
                seed=recipe.seed,
            ),
            engine=Engine(save_every=_SAVED_EVERY),
            run=Run(
                log=log,
                on_progress=on_progress,
                languages=recipe.languages,
                checkpoints=runs.checkpoints,
                identity=identity,
                resume=checkpoint,
            ),
        )
    model.eval()

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    facts = {
        "samples": len(samples),
        "languages": samples.languages(),
        "loss": trained.loss if trained.loss is not None else runs.last_loss(),
        "parameters": {"language_model": model.num_parameters()},
        "identity": identity,
    }
    save_run(runs.output, recipe=recipe, stage="language-model", facts=facts, save=save)


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Trains byte-level BPE, in which a word is spelled alike wherever it stands.

    A space is put before whatever follows a special token: the first word of an answer is thereby
    the token that the same word is within a question.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    special = [PADDING, USER, ASSISTANT, END, IMAGE_PLACEHOLDER]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PADDING,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, IMAGE_PLACEHOLDER],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def word_vectors(
    words: Iterable[tuple[str | None, str, Sequence[int]]], *, vocabulary: int, size: int
) -> Tensor:
    """Places tokens by the concepts that they speak of and by their language.

    Random indexing (Kanerva, Kristoferson and Holst, 2000, "Random indexing of text samples for
    latent semantic analysis"): every concept and every language has a random vector, and a token is
    the sum of those it occurs with. Drawn from PyTorch's generator.

    Args:
        words: Of each word its concept, if it has one, its language, and its tokens.
        vocabulary: Number of tokens.
        size: Dimensions.

    Returns:
        float[vocabulary, size], rows of length 1, or 0 for tokens that never occur.
    """
    places: dict[str, Tensor] = {}

    def place(key: str) -> Tensor:
        return places.setdefault(key, torch.randn(size))

    vectors = torch.zeros(vocabulary, size)
    for concept, language, tokens in words:
        vector = _SHARE_OF_LANGUAGE * place(f"language {language}")
        if concept is not None:
            vector = vector + place(f"concept {concept}")
        vectors.index_add_(0, torch.tensor(tokens), vector.expand(len(tokens), size))
    return torch.nn.functional.normalize(vectors, dim=1)


class NamesInQuestions:
    """Lets what a question names between its colon and its question mark be learned, too.

    Half of the Yes/No questions ask with the right name. To predict it is to name what the words
    before speak of; comparing that with the name that follows is learned from there, and sooner.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        words = {token: str(tokenizer.decode([token])) for token in range(len(tokenizer))}
        self._colons = torch.tensor([token for token, word in words.items() if _is(word, _COLONS)])
        self._marks = torch.tensor(
            [token for token, word in words.items() if _is(word, _QUESTION_MARKS)]
        )

    def supervise(self, input_ids: Tensor, labels: Tensor) -> None:
        """Sets the labels int[B, N] of tokens from a row's last colon to the mark after it."""
        is_colon = torch.isin(input_ids, self._colons)
        is_mark = torch.isin(input_ids, self._marks)
        for row in range(len(input_ids)):
            colons = is_colon[row].nonzero().flatten().tolist()
            if not colons:
                continue
            marks = [at for at in is_mark[row].nonzero().flatten().tolist() if at > colons[-1]]
            if marks:
                span = slice(colons[-1] + 1, marks[0])
                labels[row, span] = input_ids[row, span]


def _is(word: str, signs: tuple[str, ...]) -> bool:
    return word.strip() in signs


def _texts(samples: Iterable[Sample]) -> Iterable[str]:
    return (turn.text for sample in samples for turn in sample.turns)


def _config(settings: LanguageModelRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=_MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


@torch.no_grad()
def _begin_with_word_vectors(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, dictionary: Path
) -> None:
    """Adds word vectors to the freshly drawn embeddings, at the scale of the latter."""
    words: list[tuple[str | None, str, Sequence[int]]] = []
    for origin, record in read_records(dictionary):
        language = record.get("language")
        if not isinstance(language, str):
            raise UsageError(f"{origin}: a word without `language`", hint="State its code.")
        for turn in parse_sample(record, origin=origin).turns:
            tokens: list[int] = tokenizer(turn.text, add_special_tokens=False)["input_ids"]
            times = _WEIGHT_OF_NAMES if turn.role == "gpt" else 1
            words += [(record.get("concept"), language, tokens)] * times
    weight: Tensor = cast(nn.Embedding, model.get_input_embeddings()).weight
    vocabulary, size = weight.shape
    vectors = word_vectors(words, vocabulary=vocabulary, size=size)
    weight.mul_(0.5).add_(vectors * size**0.5 * model.config.initializer_range)


@torch.no_grad()
def _begin_with_matching_heads(model: Qwen2ForCausalLM) -> None:
    """Lets half of the heads of the first two layers begin by attending to tokens like their own.

    Their queries and keys are the same projection; comparing two names is learned from there.
    """
    for layer in cast(Any, model.model).layers[:2]:  # typed there as any module
        attention = layer.self_attn
        rows = attention.q_proj.weight.shape[0] // 2
        projection = torch.randn(rows, model.config.hidden_size) * 2 / model.config.hidden_size**0.5
        attention.q_proj.weight[:rows] = projection
        attention.k_proj.weight[:rows] = projection
