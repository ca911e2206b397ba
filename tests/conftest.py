"""Tiny random models of the real families, and a tokenizer that needs no download."""

import os
from types import SimpleNamespace

import hypothesis
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from parrot_core.data.cache import CACHE_VARIABLE
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor, join_parrot
from tests.picture_server import serve_pictures

# A busy machine is no fault of the program's: how long an example takes is not tested.
hypothesis.settings.register_profile("parrot", deadline=None)
hypothesis.settings.load_profile("parrot")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu", action="store_true", help="Test, on a GPU, what can be tested there, and no more."
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--gpu"):
        # The same is tested on every machine, in the processes that tests start, too.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise pytest.UsageError("--gpu was given, and torch finds no GPU")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--gpu` only tests marked so and those of a `device`, else all but the marked ones."""

    def is_wanted(item: pytest.Item) -> bool:
        marked = item.get_closest_marker("gpu") is not None
        if config.getoption("--gpu"):
            return marked or "device" in getattr(item, "fixturenames", ())
        return not marked

    left_out = [item for item in items if not is_wanted(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if is_wanted(item)]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Where models compute: on the processor, or with `--gpu` on a GPU."""
    return "cuda" if request.config.getoption("--gpu") else "cpu"


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer(
    chat_template: str | None = CHATML,
    *,
    eos_token: str = "<|im_end|>",
    specials: tuple[str, ...] = ("<|im_start|>",),
    **named: str,
) -> PreTrainedTokenizerFast:
    """One token per UTF-8 byte: exact in every language, no merges.

    Args:
        chat_template: Jinja.
        eos_token: What it says ends a text.
        specials: Tokens of its own that have no name, and that it does not list as special.
        **named: For instance `bos_token`.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos_token, pad_token="<|endoftext|>", **named
    )
    tokenizer.backend_tokenizer.add_special_tokens([*specials])
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_language_model(seed: int = 0, **changes: object) -> Qwen2ForCausalLM:
    """Two layers of Qwen2 with random weights, large enough that argmax has no ties."""
    settings = {
        "vocab_size": 272,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(Qwen2Config(**settings))


def tiny_vision_encoder(seed: int = 1) -> CLIPVisionModel:
    """Three layers of CLIP's vision transformer on images of 28×28: 4 patches and a [CLS] token."""
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=8,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIPVisionModel(config)


def tiny_image_processor(size: int = 28) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )


def tiny_parrot(
    language_model: PreTrainedModel | None = None, **settings: object
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """A whole Parrot of about 40 thousand parameters, different for different settings only."""
    return join_parrot(
        language_model=language_model or tiny_language_model(),
        vision_encoder=tiny_vision_encoder(),
        tokenizer=byte_tokenizer(),
        image_processor=tiny_image_processor(),
        generator=torch.Generator().manual_seed(2),
        **settings,
    )


def noise_image(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of coloured noise, different for each seed."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Parrot's cache folder while tests run, so that they leave none behind."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """What builds tiny parts: tokenizer, language_model, vision_encoder, parrot, image, …"""
    return SimpleNamespace(
        tokenizer=byte_tokenizer,
        language_model=tiny_language_model,
        vision_encoder=tiny_vision_encoder,
        image_processor=tiny_image_processor,
        parrot=tiny_parrot,
        image=noise_image,
    )


@pytest.fixture(scope="session")
def parrot() -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """A shared model for tests that do not change it."""
    return tiny_parrot()


@pytest.fixture
def picture_server(tiny):
    """A server of pictures on the loopback interface, well-behaved and not."""
    with serve_pictures(tiny.image(7)) as server:
        yield server
