import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from parrot_core.errors import UsageError
from parrot_core.recipe import LanguageModelRecipe
from parrot_core.training.language_model import (
    NamesInQuestions,
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


def test_words_of_a_concept_are_near_and_those_of_a_language_a_little():
    cat, katze, dog, hund, shared, absent = range(6)
    words = [
        ("cat", "en", [cat, shared]),
        ("cat", "de", [katze]),
        ("dog", "en", [dog, shared]),
        ("dog", "de", [hund]),
        (None, "de", [hund]),
    ]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vectors = word_vectors(words, vocabulary=6, size=512)
    near = vectors @ vectors.T
    assert near[cat, katze] > 0.5 > near[cat, dog] + 0.1
    assert near[cat, dog] > near[cat, hund] + 0.1  # of one language, of none in common
    assert near[shared, cat] == pytest.approx(near[shared, dog].item(), abs=0.1)
    torch.testing.assert_close(vectors[:5].norm(dim=1), torch.ones(5))
    assert vectors[absent].norm() == 0


def test_what_a_question_names_is_learned_and_the_rest_of_it_is_not(tokenizer):
    texts = [
        render(tokenizer, "grey animal\nIs this: a grey cat?", "Yes"),
        render(tokenizer, "猫： 灰\n这是： 猫？", "是"),
        render(tokenizer, "what: is it", "No"),  # nothing named
        render(tokenizer, "What is this?", "cat"),
    ]
    batch = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    labels = torch.full_like(batch["input_ids"], -100)
    NamesInQuestions(tokenizer).supervise(batch["input_ids"], labels)
    learned = [tokenizer.decode(row[row != -100]).strip() for row in labels]
    assert learned == ["a grey cat", "猫", "", ""]


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
    (workshop.data / "text.jsonl").write_text(lines, encoding="utf-8")
    words = [row | {"concept": row["id"].rstrip("0123456789")} for row in rows]
    lines = "".join(json.dumps(row) + "\n" for row in words)
    (workshop.data / "words.jsonl").write_text(lines, encoding="utf-8")
    recipe = replace(
        workshop.recipe,
        language_model=LanguageModelRecipe(
            data=("text.jsonl",),
            words="words.jsonl",
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


def test_a_dictionary_that_does_not_state_its_language_is_refused(workshop, trained, tmp_path):
    row = {"id": "1", "conversations": [{"from": "gpt", "value": "cat"}]}
    (workshop.data / "mute.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    section = LanguageModelRecipe(data=("text.jsonl",), words="mute.jsonl", vocabulary_size=320)
    with pytest.raises(UsageError, match=r"mute.jsonl:1: a word without `language`"):
        train_language_model(
            replace(workshop.recipe, language_model=section), output=tmp_path / "run"
        )


def test_samples_with_pictures_are_refused(workshop, tmp_path):
    section = LanguageModelRecipe(data=("one.json",))
    with pytest.raises(UsageError, match="has images"):
        train_language_model(
            replace(workshop.recipe, language_model=section), output=tmp_path / "run"
        )
