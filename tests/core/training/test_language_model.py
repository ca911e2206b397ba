import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from parrot_core.errors import UsageError
from parrot_core.recipe import LanguageModelRecipe
from parrot_core.training.language_model import (
    train_language_model,
    train_tokenizer,
    word_vectors,
)
from parrot_core.training.runs import LOG_FILE, RUN_FILE

TEXTS = [
    "What is this: a grey cat? cat",
    "What is this: a red house? house",
    "Bu nedir: gri bir kedi? kedi",
    "这是什么： 猫？ 猫",
    "ما هذا: قطة؟ قطة",
    "Что это: кошка? кошка",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocabulary_size=600)


def render(tokenizer, question, answer):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return tokenizer.apply_chat_template(messages, tokenize=False)


@pytest.mark.parametrize("word", ["cat", "kedi", "猫", "قطة", "кошка"])
def test_a_word_is_spelled_alike_where_an_answer_begins_and_within_a_question(tokenizer, word):
    text = render(tokenizer, f"this: {word} here", word)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    begins = ids.index(tokenizer.convert_tokens_to_ids("<|assistant|>")) + 1
    spelled = ids[begins:-1]  # the turn ends with one token
    assert spelled
    question = ids[: begins - 1]
    places = range(len(question) - len(spelled) + 1)
    assert any(question[at : at + len(spelled)] == spelled for at in places)


@pytest.mark.parametrize("text", [*TEXTS[:6], "never seen: Ω🦜\n<b>", "two  spaces"])
def test_text_comes_back_as_it_went(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids).removeprefix(" ") == text


def test_the_template_marks_what_the_assistant_says_and_ends_every_turn(tokenizer):
    text = render(tokenizer, "What?", "A cat")
    assert text == "<|user|>What?<|end|><|assistant|>A cat<|end|>"
    asked = [{"role": "user", "content": "What?"}]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text.startswith(prompt)
    assert tokenizer.eos_token == "<|end|>"
    for special in ("<|user|>", "<|assistant|>", "<|end|>", "<|padding|>", "<image>"):
        assert len(tokenizer(special, add_special_tokens=False)["input_ids"]) == 1


def test_words_that_occur_together_are_nearer():
    """Two groups of words, never in one document, and two words that occur everywhere."""
    draw = torch.Generator().manual_seed(0)
    first, second, common, absent = range(10), range(10, 20), (20, 21), 22
    documents = []
    for number in range(400):
        group = first if number % 2 else second
        chosen = torch.randperm(10, generator=draw)[:4].tolist()
        documents.append([*(group[i] for i in chosen), *common])
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the randomised decomposition draws
        vectors = word_vectors(documents, vocabulary=23, size=4)
    near = vectors @ vectors.T
    within = torch.stack([near[:10, :10].mean(), near[10:20, 10:20].mean()])
    assert vectors.shape == (23, 4)
    assert within.min() > near[:10, 10:20].max() + 0.5
    torch.testing.assert_close(vectors[:20].norm(dim=1), torch.ones(20))
    assert vectors[absent].norm() == 0


@pytest.fixture(scope="module")
def trained(workshop):
    """A model of some ten thousand parameters, a few steps on four questions."""
    questions = {"cat": "grey animal", "house": "red roof", "fish": "wet animal", "key": "iron"}
    rows = [
        {
            "id": f"{word}{number}",
            "language": "en",
            "conversations": [
                {"from": "human", "value": f"{words}\nWhat is this?"},
                {"from": "gpt", "value": word},
            ],
        }
        for word, words in questions.items()
        for number in range(8)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (workshop.data / "words.jsonl").write_text(lines, encoding="utf-8")
    recipe = replace(
        workshop.recipe,
        language_model=LanguageModelRecipe(
            data=("words.jsonl",),
            vocabulary_size=320,
            hidden_size=16,
            intermediate_size=24,
            layers=2,
            heads=2,
            learning_rate=1e-2,
            global_batch_size=8,
            steps=40,
            warmup_steps=2,
        ),
    )
    steps = []
    folder = train_language_model(
        recipe, output=workshop.folder / "words", on_progress=steps.append
    )
    assert len(steps) == 40
    return folder


def test_training_lowers_the_loss(trained):
    lines = (trained / LOG_FILE).read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0] / 2
    run = json.loads((trained / RUN_FILE).read_text(encoding="utf-8"))
    assert run["stage"] == "language-model"
    assert run["loss"] == losses[-1]


def test_the_folder_loads_as_any_language_model_and_answers(trained):
    model = AutoModelForCausalLM.from_pretrained(trained)
    tokenizer = AutoTokenizer.from_pretrained(trained)
    asked = [{"role": "user", "content": "red roof\nWhat is this?"}]
    inputs = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    inputs.pop("token_type_ids", None)
    output = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    answer = output[0, inputs["input_ids"].shape[1] :]
    words = {"cat", "house", "fish", "key"}
    assert tokenizer.decode(answer, skip_special_tokens=True).strip() in words
    assert answer[-1] == tokenizer.eos_token_id


def test_a_recipe_with_a_pretrained_model_has_nothing_to_train_here(workshop, tmp_path):
    with pytest.raises(UsageError, match="trains no language model") as caught:
        train_language_model(workshop.recipe, output=tmp_path / "run")
    assert "--stage 1" in caught.value.hint


def test_samples_with_pictures_are_refused(workshop, tmp_path):
    section = LanguageModelRecipe(data=("one.json",))
    with pytest.raises(UsageError, match="has images"):
        train_language_model(
            replace(workshop.recipe, language_model=section), output=tmp_path / "run"
        )
