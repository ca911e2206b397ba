import tomllib
from importlib.resources import files

import pytest

from parrot_core.data.emoji.concepts import NOUN_GROUPS
from parrot_core.data.emoji.wording import load_wording, parse_wording
from parrot_core.errors import UsageError
from parrot_core.languages import PAPER_LANGUAGES, identify, script_of

ARABIC_QUESTION_MARK, FULL_WIDTH_QUESTION_MARK = "\u061f", "\uff1f"


@pytest.fixture
def document():
    text = files("parrot_core.data.emoji").joinpath("wording.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def test_every_language_of_the_paper_has_wording():
    assert tuple(load_wording(PAPER_LANGUAGES)) == PAPER_LANGUAGES


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_questions_end_as_the_languages_questions_do(code):
    marks = {"ar": ARABIC_QUESTION_MARK, "zh": FULL_WIDTH_QUESTION_MARK}
    wording = load_wording([code])[code]
    for template in (*wording.naming, *wording.yes_no, *wording.category):
        assert template.endswith(marks.get(code, "?")), template


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_wording_is_in_its_language(code):
    wording = load_wording([code])[code]
    whole = " ".join((*wording.naming, *wording.description, *wording.groups.values()))
    assert identify(whole, PAPER_LANGUAGES) == code
    for template in (*wording.naming, *wording.statement):
        assert script_of(template.replace("{name}", "")) == script_of(whole)


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_templates_of_a_kind_and_words_of_groups_differ(code):
    wording = load_wording([code])[code]
    assert len(set(wording.naming)) == len(wording.naming) >= 2
    assert len(set(wording.yes_no)) == len(wording.yes_no)
    assert len(set(wording.groups.values())) == len(wording.groups)
    assert set(NOUN_GROUPS) <= set(wording.groups)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("yes_no", ["Is it?"], r"[en] yes_no: 'Is it?' has the placeholders [], needs ['name']"),
        ("naming", ["What is {name}?"], "[en] naming: 'What is {name}?' has the placeholders"),
        ("choice", ["{question} {A}"], "needs ['A', 'B', 'C', 'D', 'question']"),
        ("naming", [], "[en] no naming"),
        ("nameing", ["What?"], "[en] unknown key 'nameing'"),
    ],
)
def test_a_template_that_cannot_be_filled_is_named(document, key, value, fault):
    document["en"][key] = value
    with pytest.raises(UsageError) as caught:
        parse_wording(document, languages=["en"])
    assert fault in caught.value.problem


def test_a_language_without_wording_is_named(document):
    with pytest.raises(UsageError, match="no wording for language 'de'"):
        parse_wording(document, languages=["en", "de"])
