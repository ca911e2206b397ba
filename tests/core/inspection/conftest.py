"""Questions in two languages about noise, for a model of random weights."""

import json

import pytest

from parrot_core.inspection import Asked, built_in_conversations


@pytest.fixture
def asked(tiny):
    return built_in_conversations(["en", "tr"], pictures=[tiny.image(0), tiny.image(1)])


@pytest.fixture
def answered(asked):
    """The same with answers, in words and as a letter."""
    answers = {"en": ("a cat", "A"), "tr": ("bir kedi", "B")}
    return {
        language: [
            Asked(messages=chat.messages, images=chat.images, answers=answers[language])
            for chat in chats
        ]
        for language, chats in asked.items()
    }


@pytest.fixture
def samples(tmp_path, tiny):
    """Writes a training file: rows of (language or None, question, answer or None)."""
    tiny.image(0).save(tmp_path / "a.png")

    def write(rows, name="samples.json"):
        records = []
        for number, (language, question, answer) in enumerate(rows):
            turns = [{"from": "human", "value": question}]
            if answer is not None:
                turns.append({"from": "gpt", "value": answer})
            shown = {"image": "a.png"} if "<image>" in question else {}
            stated = {"language": language} if language else {}
            records.append({"id": str(number), **stated, **shown, "conversations": turns})
        path = tmp_path / name
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        return path

    return write
