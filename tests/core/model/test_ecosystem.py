"""Parrot among the tools of transformers: what a user's own code does with any model."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    TextIteratorStreamer,
    Trainer,
    TrainingArguments,
    pipeline,
)

from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

QUESTION = [{"role": "user", "content": "<image>\nBu ne?"}]
ANSWERED = [*QUESTION, {"role": "assistant", "content": "Kuş."}]


@pytest.fixture
def prompt(parrot, tiny):
    return parrot[1].encode_conversations(
        [QUESTION, [{"role": "user", "content": "<image><image> Hangisi?"}]],
        images=[[tiny.image(0)], [tiny.image(1), tiny.image(2)]],
        add_generation_prompt=True,
        padding_side="left",
    )


@pytest.fixture
def batch(parrot, tiny):
    return parrot[1].encode_conversations([ANSWERED], images=[[tiny.image(0)]], supervise=True)


def test_the_auto_classes_load_a_saved_model(parrot, prompt, tmp_path) -> None:
    for part in parrot:
        part.save_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(model, ParrotForConditionalGeneration)
    assert isinstance(processor, ParrotProcessor)
    expected = parrot[0].generate(**prompt, max_new_tokens=5, do_sample=False)
    assert torch.equal(model.generate(**prompt, max_new_tokens=5, do_sample=False), expected)


def test_the_pipeline_answers_a_chat_message_with_an_image(parrot, tiny) -> None:
    model, processor = parrot
    talk = pipeline("image-text-to-text", model=model, processor=processor, device="cpu")
    content = [{"type": "image", "image": tiny.image(0)}, {"type": "text", "text": "Bu ne?"}]
    record = talk(
        text=[{"role": "user", "content": content}],
        max_new_tokens=6,
        do_sample=False,
        return_full_text=False,
    )[0]
    prompt = processor.encode_conversations(
        [QUESTION], images=[[tiny.image(0)]], add_generation_prompt=True
    )
    output = model.generate(**prompt, max_new_tokens=6, do_sample=False)
    new = output[0, prompt["input_ids"].shape[1] :]
    assert record["generated_text"] == processor.decode(new, skip_special_tokens=True)


def test_the_pipeline_answers_a_batch_of_unequal_chats_as_each_alone(parrot, tiny) -> None:
    model, processor = parrot
    talk = pipeline("image-text-to-text", model=model, processor=processor, device="cpu")
    asked = [("Bu ne?", 1), ("A longer question about it, is it not?", 1), ("Hangisi?", 3)]
    chats = []
    for text, images in asked:
        shown = [{"type": "image", "image": tiny.image(i)} for i in range(images)]
        chats.append([{"role": "user", "content": [*shown, {"type": "text", "text": text}]}])
    options = {"max_new_tokens": 6, "do_sample": False, "return_full_text": False}
    together = talk(text=chats, batch_size=3, **options)
    alone = [talk(text=chat, **options) for chat in chats]
    assert [found[0]["generated_text"] for found in together] == [
        found[0]["generated_text"] for found in alone
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3},
        {"num_beams": 3, "num_return_sequences": 3},
        {"do_sample": True, "num_return_sequences": 2},
        {"do_sample": True, "num_beams": 2},
        {"prefill_chunk_size": 4, "do_sample": False},
        {"cache_implementation": "static", "do_sample": False, "disable_compile": True},
    ],
)
def test_every_way_of_generating_encodes_the_images_once(
    parrot, prompt, options, monkeypatch
) -> None:
    model, _ = parrot
    calls = []
    encode = type(model).vision_features

    def counted(self, pixels):
        calls.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(type(model), "vision_features", counted)
    torch.manual_seed(0)
    output = model.generate(**prompt, max_new_tokens=5, eos_token_id=None, **options)
    assert calls == [3]
    length = prompt["input_ids"].shape[1]
    assert output.shape == (2 * options.get("num_return_sequences", 1), length + 5)
    if "num_beams" not in options and not options["do_sample"]:
        greedy = model.generate(**prompt, max_new_tokens=5, eos_token_id=None, do_sample=False)
        assert torch.equal(output, greedy)


def test_beams_of_a_batch_equal_those_of_its_prompts(parrot, tiny) -> None:
    """The images of a sample must stay together when beams multiply the batch."""
    model, processor = parrot
    chats = [QUESTION, [{"role": "user", "content": "<image><image> Hangisi?"}]]
    images = [[tiny.image(0)], [tiny.image(1), tiny.image(2)]]
    options = {"max_new_tokens": 6, "num_beams": 4, "eos_token_id": None}
    batch = processor.encode_conversations(
        chats, images=images, add_generation_prompt=True, padding_side="left"
    )
    together = model.generate(**batch, **options)[:, batch["input_ids"].shape[1] :]
    for number in range(2):
        one = processor.encode_conversations(
            chats[number : number + 1],
            images=images[number : number + 1],
            add_generation_prompt=True,
        )
        alone = model.generate(**one, **options)[:, one["input_ids"].shape[1] :]
        assert together[number].tolist() == alone[0].tolist()


def test_generation_can_return_what_the_images_were_routed_to(parrot, prompt) -> None:
    model, _ = parrot
    output = model.generate(**prompt, max_new_tokens=2, return_dict_in_generate=True)
    torch.testing.assert_close(output.routing_weights, model(**prompt).routing_weights)


def test_prompt_lookup_generates_what_greedy_search_does(parrot, tiny) -> None:
    model, processor = parrot
    prompt = processor.encode_conversations(
        [[{"role": "user", "content": "<image> ne ne ne ne"}]],
        images=[[tiny.image(0)]],
        add_generation_prompt=True,
    )
    options = {"max_new_tokens": 8, "do_sample": False}
    found = model.generate(**prompt, prompt_lookup_num_tokens=3, **options)
    assert torch.equal(found, model.generate(**prompt, **options))


def test_generation_streams(parrot, tiny) -> None:
    model, processor = parrot
    prompt = processor.encode_conversations(
        [QUESTION], images=[[tiny.image(0)]], add_generation_prompt=True
    )
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=20)
    output = model.generate(**prompt, max_new_tokens=6, do_sample=False, streamer=streamer)
    new = output[0, prompt["input_ids"].shape[1] :]
    assert "".join(streamer) == processor.tokenizer.decode(new)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft
def test_lora_trains_saves_loads_and_merges(tiny, batch, tmp_path) -> None:
    model, _ = tiny.parrot()
    lora = LoraConfig(
        r=2,
        target_modules=r"language_model\..*\.(q_proj|v_proj)",
        modules_to_save=["projector", "experts"],
    )
    adapted = get_peft_model(model, lora)
    learning = [p for p in adapted.parameters() if p.requires_grad]
    names = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in names)
    assert any("experts" in name and "router" in name for name in names)
    assert not any("vision_encoder" in name for name in names)
    optimizer = torch.optim.SGD(learning, lr=0.1)
    adapted.train()
    for _ in range(3):
        adapted(**batch).loss.backward()
        assert all(p.grad is not None for p in learning)
        optimizer.step()
        optimizer.zero_grad()
    adapted.eval()
    logits = adapted(**batch).logits
    adapted.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny.parrot()[0], tmp_path).eval()
    torch.testing.assert_close(again(**batch).logits, logits, rtol=1e-4, atol=1e-4)
    merged = again.merge_and_unload()
    assert isinstance(merged, ParrotForConditionalGeneration)
    torch.testing.assert_close(merged(**batch).logits, logits, rtol=1e-4, atol=1e-3)


def test_gradient_checkpointing_gives_the_same_gradients(tiny, batch) -> None:
    grads = []
    for checkpointing in (False, True):
        model, _ = tiny.parrot()
        model.vision_encoder.requires_grad_(requires_grad=False)
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.is_activation_checkpointing
        model.train()(**batch).loss.backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], msg=name)


def test_eager_attention_computes_the_same(parrot, batch, tiny) -> None:
    model, _ = tiny.parrot()
    model.set_attn_implementation("eager")
    torch.testing.assert_close(
        model(**batch).logits, parrot[0](**batch).logits, rtol=1e-4, atol=1e-4
    )


def test_the_trainer_trains_and_hands_over_the_number_of_items(tiny, tmp_path) -> None:
    model, processor = tiny.parrot()
    seen = []
    forward = model.forward

    def spying(*args, **kwargs):
        seen.append(kwargs.get("num_items_in_batch"))
        return forward(*args, **kwargs)

    model.forward = spying
    chats = [[QUESTION[0], {"role": "assistant", "content": "k" * n}] for n in (1, 5, 2, 9)]

    def collate(chats):
        return dict(
            processor.encode_conversations(
                chats, images=[[tiny.image(0)] for _ in chats], supervise=True
            )
        )

    arguments = TrainingArguments(
        output_dir=tmp_path,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=chats, data_collator=collate)
    assert trainer.model_accepts_loss_kwargs
    trainer.train()
    assert [int(items) for items in seen] == [1 + 5 + 2 + 9 + 4] * 2


def test_it_can_be_dispatched_with_a_device_map(parrot, batch, tmp_path) -> None:
    for part in parrot:
        part.save_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, device_map="auto")
    torch.testing.assert_close(
        model(**batch).logits, parrot[0](**batch).logits, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("memory", ["60KB", "100KB"])
def test_it_answers_with_parts_of_it_on_the_disk(parrot, prompt, tmp_path, memory) -> None:
    for part in parrot:
        part.save_pretrained(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(
        tmp_path, device_map="auto", max_memory={"cpu": memory}, offload_folder=tmp_path / "rest"
    )
    assert "disk" in model.hf_device_map.values()
    options = {"max_new_tokens": 4, "do_sample": False}
    expected = parrot[0].generate(**prompt, **options)
    assert torch.equal(model.generate(**prompt, **options), expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_loading_in_few_bits_leaves_all_but_the_language_model(tiny, bits, tmp_path) -> None:
    pytest.importorskip("bitsandbytes")
    # Large enough for the library's blocks.
    speaker = tiny.language_model(hidden_size=64, intermediate_size=128)
    parts = tiny.parrot(language_model=speaker)
    for part in parts:
        part.save_pretrained(tmp_path)
    quantised = BitsAndBytesConfig(**{f"load_in_{bits}bit": True})
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, quantization_config=quantised)
    kinds = {
        name: type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    few = {name for name, kind in kinds.items() if kind != "Linear"}
    assert few == {name for name in kinds if name.startswith("language_model.model.")}
    batch = parts[1].encode_conversations([ANSWERED], images=[[tiny.image(0)]], supervise=True)
    expected = parts[0](**batch).routing_weights
    torch.testing.assert_close(model(**batch).routing_weights, expected)
    assert quantised.llm_int8_skip_modules is None  # the caller's stays as it was


@pytest.mark.slow
def test_a_compiled_model_computes_the_same(parrot, batch) -> None:
    model, _ = parrot
    compiled = torch.no_grad()(torch.compile(model, backend="eager"))
    torch.testing.assert_close(
        compiled(**batch).logits, model(**batch).logits, rtol=1e-4, atol=1e-4
    )
