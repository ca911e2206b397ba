import pytest

from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.prompts import prompt_text
from tests.core.benchmarks.vectors import records

PROMPTS = records("prompts.jsonl")


def question(record):
    options = dict(zip("ABCDEF", record.get("options") or (), strict=False))
    is_yes_no = record["dataset"] == "MME"
    return Question(
        index=1,
        table=record["dataset"],
        language=record.get("lang", "und"),
        text=record["question"],
        hint=record.get("hint"),
        options=options,
        answer="Yes" if is_yes_no else "A" if options else None,
    )


@pytest.mark.parametrize("record", PROMPTS, ids=lambda record: record["id"])
def test_prompts_are_the_toolkit_s_and_the_authors_to_the_letter(record):
    asked = question(record)
    text = prompt_text(asked, style="vlmevalkit", language="native", form="multiple choice")
    assert text == record["default_prompt"]
    # Under its concatenated name the authors' script puts every language but Chinese in English.
    language = "english" if record["dataset"] == "MMMB" and asked.language != "zh" else "native"
    text = prompt_text(asked, style="parrot", language=language, form="multiple choice")
    assert text == record["parrot_wrapper_prompt"]


def test_a_plain_prompt_is_the_question_and_its_options():
    asked = Question(
        index=1, table="t", language="tr", text="Bu nedir?", options={"A": "kedi", "B": "at"}
    )
    text = prompt_text(asked, style="plain", language="native", form="multiple choice")
    assert text == "Bu nedir?\nA. kedi\nB. at"
