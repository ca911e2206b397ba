import base64
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from parrot_core.errors import UsageError
from parrot_core.model import ParrotProcessor
from parrot_core.model.errors import (
    ChatTemplateError,
    ImageError,
    NothingSupervisedError,
    PlaceholderError,
)

V = 5  # visual tokens of the tiny encoder


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


@pytest.fixture
def processor(parrot) -> ParrotProcessor:
    return parrot[1]


@pytest.fixture
def dog(tiny) -> Image.Image:
    return tiny.image(3)


def test_the_assistants_words_are_labelled_and_nothing_else(processor, dog) -> None:
    chat = [user("<image>\nBu ne?"), assistant("Köpek."), user("İyi mi?"), assistant("Evet")]
    batch = processor.encode_conversations([chat], images=[[dog]], supervise=True)
    labelled = batch["labels"][0] != -100
    assert torch.equal(batch["labels"][0][labelled], batch["input_ids"][0][labelled])
    words = processor.tokenizer.decode(batch["labels"][0][labelled])
    assert words == "Köpek.<|im_end|>Evet<|im_end|>"


def test_everything_guides_but_answers_images_and_padding(processor, dog) -> None:
    chats = [
        [{"role": "system", "content": "S"}, user("<image>\nBu ne?"), assistant("Köpek.")],
        [user("Merhaba"), assistant("Selam!"), user("Nasılsın?")],
    ]
    batch = processor.encode_conversations(
        chats, images=[[dog], []], add_generation_prompt=True, padding_side="left"
    )
    guides = [
        processor.tokenizer.decode(ids[mask.bool()])
        for ids, mask in zip(batch["input_ids"], batch["guidance_mask"], strict=True)
    ]
    start, end = "<|im_start|>", "<|im_end|>"
    assert guides == [
        f"{start}system\nS{end}\n{start}user\n\nBu ne?{end}\n{start}assistant\n",
        f"{start}user\nMerhaba{end}\n{start}assistant\n\n{start}user\nNasılsın?{end}\n"
        f"{start}assistant\n",
    ]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_is_its_rows_padded(processor, tiny, side) -> None:
    chats = [
        [user("<image>"), assistant("a")],
        [user("<image> and <image>?"), assistant("b b b")],
        [user("words"), assistant("c")],
    ]
    images = [[tiny.image(0)], [tiny.image(1), tiny.image(2)], []]
    options = {"supervise": True, "padding_side": side}
    batch = processor.encode_conversations(chats, images=images, **options)
    assert batch["pixel_values"].shape == (3, 3, 28, 28)
    pixels = []
    for number, (chat, shown) in enumerate(zip(chats, images, strict=True)):
        row = processor.encode_conversations([chat], images=[shown], **options)
        length = row["input_ids"].shape[1]
        kept = slice(-length, None) if side == "left" else slice(length)
        padding = torch.ones(batch["input_ids"].shape[1], dtype=torch.bool)
        padding[kept] = False
        for key, filling in (("attention_mask", 0), ("guidance_mask", 0), ("labels", -100)):
            assert torch.equal(batch[key][number][kept], row[key][0]), key
            assert (batch[key][number][padding] == filling).all(), key
        assert torch.equal(batch["input_ids"][number][kept], row["input_ids"][0])
        pixels += [*row.get("pixel_values", [])]
        assert int((row["input_ids"] == processor.image_token_id).sum()) == V * len(shown)
    assert torch.equal(torch.stack(pixels), batch["pixel_values"])


def test_without_images_there_are_no_pixels(processor) -> None:
    batch = processor.encode_conversations([[user("a")]], images=[[]])
    assert set(batch) == {"input_ids", "attention_mask", "guidance_mask"}


@settings(max_examples=40, deadline=None)
@given(words=st.text(min_size=1, max_size=30).filter(str.strip), more=st.text(max_size=20))
def test_words_of_any_script_are_labelled_exactly(words, more, parrot) -> None:
    processor = parrot[1]
    specials = [*processor.tokenizer.all_special_tokens, "\ue000"]
    if any(special in words + more for special in specials):
        return
    chat = [user(f"q {more}"), assistant(words)]
    batch = processor.encode_conversations([chat], images=[[]], supervise=True)
    labels = batch["labels"][0]
    assert processor.tokenizer.decode(labels[labels != -100]) == f"{words}<|im_end|>"


@pytest.mark.parametrize(
    ("content", "images"), [("no place", 1), ("<image>", 0), ("<image><image>", 1)]
)
def test_placeholders_and_images_that_differ_are_an_error(processor, dog, content, images) -> None:
    with pytest.raises(PlaceholderError, match=f"conversation 1 has .* for {images} images"):
        processor.encode_conversations([[user("a")], [user(content)]], images=[[], [dog] * images])
    with pytest.raises(PlaceholderError, match=f"for {images} images"):
        processor(text=content, images=[dog] * images or None)


def test_a_placeholder_in_an_answer_is_an_error(processor, dog) -> None:
    chat = [user("what?"), assistant("an <image>")]
    with pytest.raises(PlaceholderError, match="message 1: <image> in the words of the assistant"):
        processor.encode_conversations([chat], images=[[dog]], supervise=True)


def test_a_conversation_without_an_answer_cannot_teach(processor) -> None:
    chats = [[user("a"), assistant("b")], [user("a")]]
    with pytest.raises(NothingSupervisedError, match="conversation 1"):
        processor.encode_conversations(chats, images=[[], []], supervise=True)


def test_images_must_be_given_for_every_conversation(processor) -> None:
    with pytest.raises(UsageError, match="2 conversations, but images for 1"):
        processor.encode_conversations([[user("a")], [user("b")]], images=[[]])


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (0, 10), (0, 0)])
def test_an_image_of_one_pixel_is_refused(processor, size) -> None:
    with pytest.raises(ImageError, match=f"{size[0]}×{size[1]} pixels"):
        processor.prepare_images([Image.new("RGB", size)])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_images_of_every_mode_become_rgb(processor, mode) -> None:
    assert processor.prepare_images([Image.new(mode, (30, 20))]).shape == (1, 3, 28, 28)


def test_what_is_not_an_image_is_refused(processor) -> None:
    with pytest.raises(ImageError, match="image 0 is a Tensor"):
        processor.prepare_images([torch.zeros(3, 28, 28)])


def test_multimodal_messages_encode_as_text_with_placeholders_does(processor, dog) -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": dog}, {"type": "text", "text": "Bu ne?"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Köpek."}]},
        user("Emin misin?"),
    ]
    found = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    flat = [user("<image>\nBu ne?"), assistant("Köpek."), user("Emin misin?")]
    expected = processor.encode_conversations([flat], images=[[dog]], add_generation_prompt=True)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert processor.apply_chat_template([messages], add_generation_prompt=True) == [text]
    again = processor(text=text, images=[dog], return_tensors="pt")
    assert torch.equal(again["input_ids"], expected["input_ids"])


def test_images_are_taken_as_files_and_as_openai_writes_them(processor, dog, tmp_path) -> None:
    dog.save(tmp_path / "dog.png")
    place = str(tmp_path / "dog.png")
    data = "data:image/png;base64," + base64.b64encode(Path(place).read_bytes()).decode()
    expected = processor.prepare_images([dog])
    for image in (
        {"type": "image", "url": place},
        {"type": "image", "path": place},
        {"type": "image", "url": data},
        {"type": "image_url", "image_url": {"url": data}},
    ):
        messages = [{"role": "user", "content": [image, {"type": "text", "text": "Bu ne?"}]}]
        found = processor.apply_chat_template(messages, tokenize=True, return_dict=True)
        assert torch.equal(found["pixel_values"], expected)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "empty"),
        ([[user("a")], []], "conversation 1 is empty"),
        ([{"role": "user"}], "content is a NoneType"),
        ([{"role": "tool", "content": "a"}], "unknown role 'tool'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "holds {'type': 'text'}"),
        ([{"role": "user", "content": [{"type": "video", "url": "a"}]}], "'video'"),
        ([{"role": "user", "content": [{"type": "image"}]}], "1 <image> for 0 images"),
    ],
)
def test_what_is_no_conversation_is_told(processor, messages, problem) -> None:
    with pytest.raises(UsageError, match=problem):
        processor.apply_chat_template(messages, tokenize=True, return_dict=True)


def test_texts_have_their_own_images(processor, dog) -> None:
    with pytest.raises(PlaceholderError, match="text 0 has 2 <image> for 1 images"):
        processor(text=["<image><image>", "none"], images=[[dog], [dog]])


def test_the_librarys_route_marks_the_assistants_tokens_on_request(processor) -> None:
    found = processor.apply_chat_template(
        [user("a"), assistant("b")],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    spoken = found["input_ids"][found["assistant_masks"].bool()]
    assert processor.tokenizer.decode(spoken) == "b<|im_end|>"


@pytest.mark.parametrize("option", [{"truncation": True}, {"padding": "max_length"}])
def test_an_option_that_would_be_ignored_is_refused(processor, option) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        processor.apply_chat_template([user("a")], tokenize=True, return_dict=True, **option)


def test_a_tokenizer_without_a_template_needs_one(tiny) -> None:
    processor = tiny.parrot()[1]
    processor.chat_template = processor.tokenizer.chat_template = None
    with pytest.raises(ChatTemplateError, match="no chat template"):
        processor.encode_conversations([[user("a")]], images=[[]])


def test_a_processor_saved_and_loaded_prepares_the_same(processor, dog, tmp_path) -> None:
    from transformers import AutoProcessor

    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, ParrotProcessor)
    chats = [[user("<image>\nBu ne?"), assistant("Köpek.")]]
    before, after = (
        p.encode_conversations(chats, images=[[dog]], supervise=True) for p in (processor, loaded)
    )
    for key, value in before.items():
        assert torch.equal(after[key], value), key
