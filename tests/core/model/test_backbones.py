"""Every row of the two tables, with a tiny random model of its family."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    PreTrainedModel,
)

from parrot_core.errors import UsageError
from parrot_core.model import join_parrot, load_parrot
from parrot_core.model.backbones import LANGUAGE_MODELS, VISION_ENCODERS
from parrot_core.model.errors import ImageError
from tests.core.model.families import FAMILIES

SIZE, PATCH = 28, 14
TRANSFORMER = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": PATCH,
    "initializer_range": 0.3,
}
DINOV2 = {key: value for key, value in TRANSFORMER.items() if key != "intermediate_size"}
VISION: dict[str, dict[str, Any]] = {
    "clip_vision_model": TRANSFORMER,
    "chinese_clip_vision_model": TRANSFORMER,
    "siglip_vision_model": TRANSFORMER,
    "siglip2_vision_model": {**TRANSFORMER, "num_patches": 4},
    "dinov2": DINOV2,
    "dinov2_with_registers": {**DINOV2, "num_register_tokens": 4},
    "efficientnet": {
        "image_size": 64,
        "width_coefficient": 0.25,
        "depth_coefficient": 0.3,
        "hidden_dim": 320,
    },
}
SPEAKER = {
    "vocab_size": 272,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
QUESTION = [{"role": "user", "content": "<image>\nNe?"}]
ANSWERED = [*QUESTION, {"role": "assistant", "content": "Kuş."}]


def seeded(build: Any, config: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build(config)


def vision_encoder(kind: str) -> PreTrainedModel:
    encoder = seeded(AutoModel.from_config, AutoConfig.for_model(kind, **VISION[kind]))
    if kind == "efficientnet":  # drawn as the library draws it, it would show nothing
        generator = torch.Generator().manual_seed(0)
        for module in encoder.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, generator=generator)
            elif isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)
    return encoder.eval()


def language_model(kind: str) -> PreTrainedModel:
    return seeded(AutoModelForCausalLM.from_config, AutoConfig.for_model(kind, **SPEAKER))


@pytest.fixture
def join(tiny):
    """Joins a vision encoder and a language model, tiny ones of the usual families by default."""

    def joined(*, viewer=None, speaker=None, tokenizer=None, size=SIZE, **settings):
        return join_parrot(
            language_model=speaker or tiny.language_model(),
            vision_encoder=viewer or tiny.vision_encoder(),
            tokenizer=tokenizer or tiny.tokenizer(),
            image_processor=tiny.image_processor(size),
            generator=torch.Generator().manual_seed(0),
            **settings,
        )

    return joined


def test_every_row_is_tested_here() -> None:
    assert VISION.keys() == VISION_ENCODERS.keys()
    assert {family.kind for family in FAMILIES.values()} == LANGUAGE_MODELS.keys()


@pytest.mark.parametrize("kind", VISION)
def test_a_vision_encoder_trains_generates_and_survives_saving(kind, tmp_path, join, tiny) -> None:
    size = VISION[kind]["image_size"]
    model, processor = join(viewer=vision_encoder(kind), size=size)
    images = [[tiny.image(1)]]
    batch = processor.encode_conversations([ANSWERED], images=images, supervise=True)
    assert batch["pixel_values"].shape == (1, 3, size, size)
    assert int((batch["input_ids"] == model.config.image_token_id).sum()) == 5

    model.vision_encoder.requires_grad_(requires_grad=False)
    output = model.train()(**batch)
    output.loss.backward()
    assert output.routing_weights.shape == (1, 6)
    for part in (model.projector, model.experts, model.language_model):
        assert all(p.grad is not None for p in part.parameters())
    assert not any(module.training for module in model.vision_encoder.modules())

    model.eval()
    other = processor.encode_conversations([ANSWERED], images=[[tiny.image(2)]], supervise=True)
    logits = model(**batch).logits
    assert (model(**other).logits - logits).abs().max() > 1e-4  # it sees
    prompt = processor.encode_conversations([QUESTION], images=images, add_generation_prompt=True)
    answer = model.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > prompt["input_ids"].shape[1]

    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, same = load_parrot(tmp_path)
    torch.testing.assert_close(again(**batch).logits, logits, rtol=1e-4, atol=1e-4)
    reread = same.encode_conversations([ANSWERED], images=images, supervise=True)
    assert torch.equal(reread["pixel_values"], batch["pixel_values"])


@pytest.mark.parametrize("query", ["pooled", "mean_patch"])
@pytest.mark.parametrize("kind", ["clip_vision_model", "siglip_vision_model", "dinov2"])
def test_what_asks_in_equation_2_can_be_chosen(kind, query, join) -> None:
    model, _ = join(viewer=vision_encoder(kind), image_query=query)
    pixels = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.vision_features(pixels)
        output = model.vision_encoder(pixels, output_hidden_states=True)
    prefix = VISION_ENCODERS[kind].prefix_tokens(model.config.vision_config)
    patches = output.hidden_states[-2][:, prefix:]
    expected = output.pooler_output if query == "pooled" else patches.mean(dim=1)
    assert torch.equal(features[:, 0], expected)
    assert torch.equal(features[:, 1:], patches)


def test_registers_are_no_patches(join) -> None:
    model, _ = join(viewer=vision_encoder("dinov2_with_registers"))
    pixels = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = model.vision_encoder(pixels, output_hidden_states=True).hidden_states[-2]
        features = model.vision_features(pixels)
    assert torch.equal(features, states[:, [0, 5, 6, 7, 8]])


def test_siglip2_sees_the_patches_its_own_processor_would_make(join) -> None:
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    model, _ = join(viewer=vision_encoder("siglip2_vision_model"))
    pixels = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    patches = torch.from_numpy(convert_image_to_patches(pixels[0].numpy(), PATCH))
    with torch.no_grad():
        expected = model.vision_encoder(
            pixel_values=patches[None],
            pixel_attention_mask=torch.ones(1, 4, dtype=torch.long),
            spatial_shapes=torch.tensor([[2, 2]]),
            output_hidden_states=True,
        ).hidden_states[-2]
        features = model.vision_features(pixels)
    torch.testing.assert_close(features[:, 1:], expected)


def test_an_efficientnet_keeps_its_statistics_in_training(join, tiny) -> None:
    """Its batch normalisation would otherwise learn from every batch, frozen or not."""
    model, processor = join(viewer=vision_encoder("efficientnet"), size=64)
    model.vision_encoder.requires_grad_(requires_grad=False)
    before = {name: b.clone() for name, b in model.vision_encoder.named_buffers()}
    batch = processor.encode_conversations([ANSWERED], images=[[tiny.image(1)]], supervise=True)
    model.train()
    model.vision_encoder.train()  # even if somebody sets it
    model(**batch).loss.backward()
    for name, buffer in model.vision_encoder.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_an_efficientnet_has_no_layer_before_the_last(join) -> None:
    with pytest.raises(UsageError, match="vision_feature_layer -2"):
        join(viewer=vision_encoder("efficientnet"), size=64, vision_feature_layer=-2)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_written_and_ended_in_its_own_way(family, join) -> None:
    model, processor = join(speaker=language_model(family.kind), tokenizer=family.tokenizer())
    question = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    chat = [*question, {"role": "user", "content": "R"}]
    prompt = processor.encode_conversations([chat], images=[[]], add_generation_prompt=True)
    assert processor.decode(prompt["input_ids"][0]) == family.written
    assert processor.apply_chat_template(chat, add_generation_prompt=True) == family.written
    taught = processor.encode_conversations([question], images=[[]], supervise=True)
    labels = taught["labels"][0]
    assert processor.decode(labels[labels != -100]).strip() == f"A{family.end}"
    end = processor.tokenizer.convert_tokens_to_ids(family.end)
    assert end in model.generation_config.eos_token_id


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_language_model_trains_generates_and_survives_saving(
    family, tmp_path, join, tiny
) -> None:
    model, processor = join(speaker=language_model(family.kind), tokenizer=family.tokenizer())
    images = [[tiny.image(1)], []]
    chats = [
        ANSWERED,
        [{"role": "user", "content": "Selam!"}, {"role": "assistant", "content": "A"}],
    ]
    batch = processor.encode_conversations(chats, images=images, supervise=True)
    trained = model.train()(**batch)
    trained.loss.backward()
    assert model.experts.router.grad.abs().max() > 0
    whole = model.eval()(**batch)
    torch.testing.assert_close(trained.loss, whole.loss, rtol=1e-5, atol=1e-6)

    prompts = [chat[:1] for chat in chats]
    left = processor.encode_conversations(
        prompts, images=images, add_generation_prompt=True, padding_side="left"
    )
    together = model.generate(**left, max_new_tokens=6, do_sample=False)
    for number, (prompt, shown) in enumerate(zip(prompts, images, strict=True)):
        one = processor.encode_conversations([prompt], images=[shown], add_generation_prompt=True)
        alone = model.generate(**one, max_new_tokens=6, do_sample=False)
        words = alone[0, one["input_ids"].shape[1] :].tolist()
        found = together[number, left["input_ids"].shape[1] :].tolist()
        assert found[: len(words)] == words

    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, _ = load_parrot(tmp_path)
    torch.testing.assert_close(again(**batch).logits, whole.logits, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_that_holds_a_text_encoder_too_gives_its_vision_encoder(
    tmp_path, tiny
) -> None:
    config = CLIPConfig(
        vision_config=TRANSFORMER,
        text_config={**TRANSFORMER, "vocab_size": 16, "max_position_embeddings": 8},
        projection_dim=8,
    )
    whole = seeded(CLIPModel, config)
    whole.save_pretrained(tmp_path)
    tiny.image_processor().save_pretrained(tmp_path)
    model, processor = join_parrot(
        language_model=tiny.language_model(), vision_encoder=tmp_path, tokenizer=tiny.tokenizer()
    )
    pixels = processor.prepare_images([tiny.image(1)])
    with torch.no_grad():
        expected = whole.vision_model(pixels, output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(model.vision_features(pixels), expected)


def test_an_image_processor_of_another_size_is_an_error(join) -> None:
    with pytest.raises(ImageError, match=r"\(3, 42, 42\), the encoder takes 28"):
        join(size=42)
