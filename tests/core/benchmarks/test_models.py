from dataclasses import replace

import pytest
import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    LlavaProcessor,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    SiglipVisionConfig,
)

from parrot_core.benchmarks import run
from parrot_core.benchmarks.base import Prompt
from parrot_core.benchmarks.models import LocalAnswerer, load_transformers_model, weights_digest
from parrot_core.benchmarks.processors import without_videos
from parrot_core.data.images import open_image
from parrot_core.errors import GpuFullError, MissingError, UsageError
from tests.conftest import byte_tokenizer, tiny_parrot
from tests.core.benchmarks.test_tables import encoded, picture, write

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}


def tiny_llava(folder):
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    text = Qwen2Config(vocab_size=len(tokenizer), tie_word_embeddings=False, **SIZES)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=8,
    )
    config = LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    save(LlavaForConditionalGeneration, config, processor, folder)


def tiny_qwen2_vl(folder):
    tokenizer = byte_tokenizer()
    named = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(named)})
    start, end, image, video = map(tokenizer.convert_tokens_to_ids, named)
    config = Qwen2VLConfig(
        text_config={
            **SIZES,
            "vocab_size": len(tokenizer),
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": SIZES["hidden_size"],
            "num_heads": 2,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    processor = without_videos(Qwen2VLProcessor)(
        Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56),
        tokenizer,
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    save(Qwen2VLForConditionalGeneration, config, processor, folder)


def tiny_llava_onevision(folder):
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<video>"]})
    image, video = map(tokenizer.convert_tokens_to_ids, ("<image>", "<video>"))
    crops = [[28, 28], [28, 56], [56, 28]]
    config = LlavaOnevisionConfig(
        text_config=Qwen2Config(vocab_size=len(tokenizer), tie_word_embeddings=False, **SIZES),
        vision_config=SiglipVisionConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        ),
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=crops,
        vision_feature_select_strategy="full",
    )
    processor = without_videos(LlavaOnevisionProcessor)(
        LlavaOnevisionImageProcessorPil(
            size={"height": 28, "width": 28}, image_grid_pinpoints=crops
        ),
        tokenizer,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    save(LlavaOnevisionForConditionalGeneration, config, processor, folder)


def save(kind, config, processor, folder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    tiny_llava(place)
    return place


class Picture:
    def __init__(self, colour):
        self.key = colour

    def load(self):
        return picture(self.key, 56)


def prompts():
    colours = ("red", "green", "blue", "white", "black", "gray", "pink", "teal")
    return [
        Prompt(
            key=f"t/{index}",
            language="en",
            text="What is this?" + " Really?" * (index % 3),
            images=(Picture(colour),),
        )
        for index, colour in enumerate(colours)
    ]


def test_a_batch_of_eight_answers_as_eight_of_one(folder):
    together = load_transformers_model(str(folder), batch_size=8, max_new_tokens=8)
    alone = load_transformers_model(str(folder), batch_size=1, max_new_tokens=8)
    asked = prompts()
    answers = list(together.answer(asked))
    assert answers == [text for prompt in asked for text in alone.answer([prompt])]
    assert len(set(answers)) > 1  # the pictures and questions matter


@pytest.mark.parametrize("build", [tiny_qwen2_vl, tiny_llava_onevision])
def test_the_kin_of_llava_answer_alike_in_any_batch(build, tmp_path):
    build(tmp_path)
    together = load_transformers_model(str(tmp_path), batch_size=8, max_new_tokens=8)
    alone = load_transformers_model(str(tmp_path), batch_size=1, max_new_tokens=8)
    asked = prompts()
    answers = list(together.answer(asked))
    assert answers == [text for prompt in asked for text in alone.answer([prompt])]
    assert len(set(answers)) > 1


def test_any_model_of_transformers_is_evaluated_end_to_end(folder, tmp_path):
    columns = ("index", "image", "question", "A", "B", "answer")
    rows = [(i, encoded("red", 56), "What?" * i, "cat", "dog", "A") for i in range(1, 4)]
    path = write(tmp_path / "t_en.tsv", rows, columns)
    answerer = load_transformers_model(str(folder), batch_size=2, max_new_tokens=4)
    report = run([path], answerer, output=tmp_path / "run")
    assert report.languages["en"].n == 3
    assert answerer.identity["weights"] == weights_digest(folder)


def test_a_parrot_answers_alike_by_either_way_of_loading(tmp_path):
    from parrot_cli.eval.models import load_answerer

    model, processor = tiny_parrot()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    own = load_answerer(str(tmp_path), batch_size=8, max_new_tokens=6, device=None)
    general = load_transformers_model(str(tmp_path), batch_size=8, max_new_tokens=6)
    assert list(own.answer(prompts())) == list(general.answer(prompts()))


def test_of_candidates_the_likeliest_is_taken(tmp_path):
    from parrot_cli.eval.models import load_answerer
    from parrot_core.generation import ask, load_for_use, weigh

    model, processor = tiny_parrot()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    names = {"A": "cat", "B": "x", "C": "a very long name", "D": "dog"}
    asked = [replace(prompt, candidates=names) for prompt in prompts()]
    letters = list(
        load_answerer(str(tmp_path), batch_size=8, max_new_tokens=6, device=None).answer(asked)
    )
    for prompt, letter in zip(asked, letters, strict=True):
        picture = open_image(prompt.images[0].load())
        chat = ask(prompt.text, images=[picture])
        (weights,) = weigh(*load_for_use(tmp_path), [chat], [list(names.values())])
        assert letter == "ABCD"[weights.index(max(weights))]


def test_a_model_that_tells_no_likelihoods_refuses_candidates(folder):
    answerer = load_transformers_model(str(folder), max_new_tokens=2)
    asked = [replace(prompt, candidates={"A": "cat", "B": "dog"}) for prompt in prompts()]
    with pytest.raises(UsageError, match="how likely"):
        list(answerer.answer(asked))


def test_a_batch_that_the_gpu_does_not_hold_is_said(monkeypatch):
    def fill(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 24_000_000_000))
    model = LocalAnswerer(identity={}, batch_size=8, answer_batch=fill, weigh_batch=fill)
    for candidates in ({}, {"A": "cat"}):
        prompt = Prompt(key="t/1", language="en", text="What?", candidates=candidates)
        with pytest.raises(GpuFullError, match="24 GB") as caught:
            list(model.answer([prompt]))
        assert "--batch-size" in caught.value.hint


def test_a_prompt_without_a_picture_is_answered(folder):
    answerer = load_transformers_model(str(folder), max_new_tokens=2)
    (text,) = answerer.answer([Prompt(key="t/1", language="en", text="Hello")])
    assert isinstance(text, str)


def test_pictures_are_decoded_before_their_turn(folder):
    answerer = load_transformers_model(str(folder), max_new_tokens=1)
    loaded = []

    class Watched(Picture):
        def load(self):
            loaded.append(self.key)
            return super().load()

    asked = [Prompt(key="t/1", language="en", text="?", images=(Watched("red"),))]
    answerer.prepare(asked)
    list(answerer.answer(asked))
    assert loaded == ["red"]


def test_a_picture_that_cannot_be_decoded_is_named_with_its_question(folder):
    answerer = load_transformers_model(str(folder), max_new_tokens=1)

    class Broken(Picture):
        def load(self):
            return picture("red", 56)[:60]

    asked = [Prompt(key="t/7", language="en", text="?", images=(Broken("red"),))]
    with pytest.raises(UsageError, match="the picture of t/7"):
        list(answerer.answer(asked))


def test_a_model_without_a_chat_template_reads_the_bare_question(tmp_path, caplog):
    tiny_llava(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    tokenizer = byte_tokenizer(chat_template=None)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(tmp_path)
    answerer = load_transformers_model(str(tmp_path), max_new_tokens=4)
    assert len(list(answerer.answer(prompts()))) == len(prompts())
    assert answerer.identity["asked_by"] == "bare question"
    assert "no chat template" in caplog.text


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(MissingError, match="cannot load the model"):
        load_transformers_model(str(tmp_path))


def test_changed_weights_have_another_digest(folder, tmp_path):
    before = weights_digest(folder)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert weights_digest(tmp_path) == before
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert weights_digest(tmp_path) != before
