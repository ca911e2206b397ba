import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from parrot_core.errors import UsageError
from parrot_core.model import join_parrot
from parrot_core.model.errors import CheckpointError


def test_the_parts_are_left_as_they_were(tiny) -> None:
    speaker, viewer = tiny.language_model(), tiny.vision_encoder()
    before = [
        {name: weight.clone() for name, weight in part.state_dict().items()}
        for part in (speaker, viewer)
    ]
    model, _ = join_parrot(
        language_model=speaker,
        vision_encoder=viewer,
        tokenizer=tiny.tokenizer(),
        image_processor=tiny.image_processor(),
    )
    for part, weights in zip((model.language_model, model.vision_encoder), before, strict=True):
        for name, weight in part.state_dict().items():
            assert torch.equal(weight, weights[name]), name
    assert model.language_model.config._attn_implementation == "sdpa"


def test_the_same_generator_draws_the_same_new_parts(tiny) -> None:
    first, second = (tiny.parrot()[0].state_dict() for _ in range(2))
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name
    assert first["experts.up_proj"].std() > 0
    assert first["projector.0.weight"].std() > 0


def test_the_callers_tokenizer_is_not_changed(tiny) -> None:
    tokenizer = tiny.tokenizer()
    size = len(tokenizer)
    _, processor = join_parrot(
        language_model=tiny.language_model(),
        vision_encoder=tiny.vision_encoder(),
        tokenizer=tokenizer,
        image_processor=tiny.image_processor(),
    )
    assert len(tokenizer) == size
    assert len(processor.tokenizer) == size + 1


@pytest.mark.parametrize("tied", [True, False])
def test_a_full_vocabulary_gets_room_for_the_image_token(tiny, tied) -> None:
    speaker = tiny.language_model(vocab_size=259, tie_word_embeddings=tied)
    old = speaker.get_input_embeddings().weight.detach().clone()
    model, processor = join_parrot(
        language_model=speaker,
        vision_encoder=tiny.vision_encoder(),
        tokenizer=tiny.tokenizer(),
        image_processor=tiny.image_processor(),
    )
    assert model.config.image_token_id == 259
    assert model.config.text_config.vocab_size == 320
    rows = model.get_input_embeddings().weight
    assert torch.equal(rows[:259], old)
    torch.testing.assert_close(rows[259:], old.mean(dim=0).expand(61, -1))
    assert model.generation_config.suppress_tokens == list(range(259, 320))
    prompt = processor.encode_conversations(
        [[{"role": "user", "content": "<image>?"}]],
        images=[[tiny.image(0)]],
        add_generation_prompt=True,
    )
    new = model.generate(
        **prompt, max_new_tokens=8, do_sample=False, repetition_penalty=1.2, eos_token_id=None
    )[:, prompt["input_ids"].shape[1] :]
    assert (new < 259).all()


def test_generation_ends_where_the_chat_template_ends_a_turn(tiny) -> None:
    speaker = tiny.language_model(eos_token_id=5)
    model, processor = join_parrot(
        language_model=speaker,
        vision_encoder=tiny.vision_encoder(),
        tokenizer=tiny.tokenizer(),
        image_processor=tiny.image_processor(),
    )
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.generation_config.eos_token_id == [5, end]
    assert model.generation_config.pad_token_id == processor.tokenizer.pad_token_id


def test_all_parts_get_the_language_models_precision(tiny) -> None:
    model, processor = join_parrot(
        language_model=tiny.language_model(),
        vision_encoder=tiny.vision_encoder(),
        tokenizer=tiny.tokenizer(),
        image_processor=tiny.image_processor(),
        dtype=torch.bfloat16,
    )
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    chat = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "a"}]
    batch = processor.encode_conversations([chat], images=[[tiny.image(0)]], supervise=True)
    output = model.train()(**batch)
    assert output.loss.dtype == torch.float32
    assert output.routing_weights.dtype == torch.float32
    output.loss.backward()


def test_parts_load_from_folders(tiny, tmp_path) -> None:
    speaker, viewer = tiny.language_model(), tiny.vision_encoder()
    speaker.save_pretrained(tmp_path / "speaker")
    tiny.tokenizer().save_pretrained(tmp_path / "speaker")
    viewer.save_pretrained(tmp_path / "viewer")
    tiny.image_processor().save_pretrained(tmp_path / "viewer")
    model, _ = join_parrot(
        language_model=tmp_path / "speaker", vision_encoder=str(tmp_path / "viewer")
    )
    for part, source in ((model.language_model, speaker), (model.vision_encoder, viewer)):
        for name, weight in source.state_dict().items():
            assert torch.equal(part.state_dict()[name], weight), name


def test_a_family_without_a_template_of_its_own_gets_the_tables(tiny) -> None:
    speaker = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=272,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )
    _, processor = join_parrot(
        language_model=speaker,
        vision_encoder=tiny.vision_encoder(),
        tokenizer=tiny.tokenizer(chat_template=None),
        image_processor=tiny.image_processor(),
    )
    chat = [{"role": "user", "content": "<image>\nNe?"}, {"role": "assistant", "content": "Kuş"}]
    batch = processor.encode_conversations([chat], images=[[tiny.image(0)]], supervise=True)
    text = processor.tokenizer.decode(batch["input_ids"][0])
    assert text.endswith("USER: " + "<image>" * 5 + "\nNe? ASSISTANT: Kuş<|im_end|>")
    labels = batch["labels"][0]
    assert processor.tokenizer.decode(labels[labels != -100]) == "Kuş<|im_end|>"


def test_a_part_that_is_not_there_is_named(tiny, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        join_parrot(
            language_model=tmp_path / "nowhere",
            vision_encoder=tiny.vision_encoder(),
            image_processor=tiny.image_processor(),
        )


def test_a_language_model_is_no_vision_encoder(tiny, tmp_path) -> None:
    tiny.language_model().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="'qwen2', not a vision encoder"):
        join_parrot(
            language_model=tiny.language_model(),
            vision_encoder=tmp_path,
            tokenizer=tiny.tokenizer(),
            image_processor=tiny.image_processor(),
        )


def test_an_unknown_setting_is_an_error(tiny) -> None:
    with pytest.raises(TypeError, match=r"\['alhpa'\]"):
        tiny.parrot(alhpa=0.5)


def test_an_object_needs_its_tokenizer_beside_it(tiny) -> None:
    with pytest.raises(TypeError, match="tokenizer is needed beside a Qwen2ForCausalLM"):
        join_parrot(language_model=tiny.language_model(), vision_encoder=tiny.vision_encoder())
