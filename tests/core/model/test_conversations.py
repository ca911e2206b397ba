"""The assistant's words are found in what every kind of template writes, or an error says so."""

import pytest

from parrot_core.errors import UsageError
from parrot_core.model.conversations import check_conversation, render_with_spans
from parrot_core.model.errors import ChatTemplateError

# Written in the manner of the families' templates: headers, trimming, refusals, thinking.
LOOP = "{% for m in messages %}"
LLAMA3 = (
    "{{ bos_token }}" + LOOP + "<|start|>{{ m['role'] }}<|header|>\n\n{{ m['content'] | trim }}"
    "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|header|>\n\n{% endif %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + LOOP
    + "<turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n{{ m['content'] | trim }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
MISTRAL = (
    LOOP + "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
THINKING = (
    LOOP + "<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
MARKED = (
    LOOP + "<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
)
TEMPLATES = {
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "thinking": THINKING,
    "marked": MARKED,
    "marked without its end": MARKED.replace(
        "<|im_end|>{% endgeneration %}", "{% endgeneration %}<|im_end|>"
    ),
}


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def spoken(messages, template, tiny) -> tuple[str, list[str]]:
    text, spans = render_with_spans(messages, tokenizer=tiny.tokenizer(), template=template)
    return text, [text[start:end] for start, end in spans]


@pytest.mark.parametrize("name", [*TEMPLATES, "chatml"])
def test_the_words_and_the_end_of_each_turn_are_found(name, tiny) -> None:
    template = TEMPLATES.get(name) or tiny.tokenizer().chat_template
    # The same words stand in a question and in an earlier answer: only position tells them apart.
    messages = [user("Kuş"), assistant("Kuş"), user("Ещё? Kuş"), assistant("两只鸟。\nKuş")]
    text, words = spoken(messages, template, tiny)
    assert words == ["Kuş<|im_end|>", "两只鸟。\nKuş<|im_end|>"]
    assert text.endswith("两只鸟。\nKuş<|im_end|>")


@pytest.mark.parametrize("name", ["llama3", "gemma"])
def test_a_template_that_trims_its_content_is_followed(name, tiny) -> None:
    _, words = spoken([user(" a "), assistant(" b\n")], TEMPLATES[name], tiny)
    assert words == ["b<|im_end|>"]


@pytest.mark.parametrize("name", ["llama3", "gemma", "thinking"])
def test_what_is_learnt_follows_what_generation_begins_with(name, tiny) -> None:
    template = TEMPLATES[name]
    tokenizer = tiny.tokenizer()
    messages = [user("a"), assistant("b"), user("c")]
    prompt, _ = render_with_spans(
        messages, tokenizer=tokenizer, template=template, add_generation_prompt=True
    )
    text, spans = render_with_spans(
        [*messages, assistant("d")], tokenizer=tokenizer, template=template
    )
    assert text[: spans[-1][0]] == prompt


def test_a_message_to_be_continued_ends_with_its_last_word(tiny) -> None:
    text, spans = render_with_spans(
        [user("a"), assistant("b"), user("c"), assistant("the end is")],
        tokenizer=tiny.tokenizer(),
        template=tiny.tokenizer().chat_template,
        continue_final_message=True,
    )
    assert text.endswith("assistant\nthe end is")
    assert [text[start:end] for start, end in spans] == ["b<|im_end|>", "the end is"]


def test_a_refusal_of_the_template_is_told(tiny) -> None:
    with pytest.raises(ChatTemplateError, match="no system role"):
        spoken([{"role": "system", "content": "s"}, user("a")], GEMMA, tiny)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (LOOP + "{{ m['role'] }}{% endfor %}", "drops assistant message 0"),
        (LOOP + "{{ m['content'] | upper }}<|im_end|>{% endfor %}", "depending on the words"),
        (LOOP + "{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}", "no special token ends"),
        (
            MARKED.replace("{{ m['content'] }}<|im_end|>{% end", "x<|im_end|>{% end"),
            "lacks the words",
        ),
    ],
)
def test_words_that_cannot_be_found_are_an_error_not_silence(template, reason, tiny) -> None:
    with pytest.raises(ChatTemplateError, match=reason):
        spoken([user("a"), assistant("answer")], template, tiny)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "conversation 4 is empty"),
        ([{"role": "human", "content": "a"}], "message 0: unknown role 'human'"),
        ([user("a"), {"role": "assistant", "content": None}], "message 1: content is a NoneType"),
        ([user("a \udcff")], r"message 0: '\\udcff' is no character"),
    ],
)
def test_a_faulty_conversation_is_named_with_its_place(messages, problem) -> None:
    with pytest.raises(UsageError, match=problem):
        check_conversation(messages, place="conversation 4")
