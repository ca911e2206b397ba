"""How a question is put to a model: the authors' wording, the toolkit's, or the bare question."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from parrot_core.benchmarks.base import Prompt, Question
from parrot_core.benchmarks.forms import FREE
from parrot_core.errors import UsageError

STYLES = {
    "parrot": "the question, its options, and the authors' instruction",
    "vlmevalkit": "the toolkit's own, in English whatever the language",
    "plain": "the question and its options, and nothing else",
}
ANSWER_BY = {
    "text": "the model is shown the options and writes its answer, which is read",
    "likelihood": "the model sees no options; the most likely one as an answer is taken",
}
PROMPT_LANGUAGES = ("native", "english")

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_YES_NO_REQUESTS = (" Please answer yes or no.", " Yes or No", " Answer in one sentence.")


@cache
def _instructions() -> dict[str, dict[str, str]]:
    text = files("parrot_core.benchmarks").joinpath("prompts.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def english_instructions() -> frozenset[str]:
    """Returns the instructions that need no translation into English."""
    return frozenset(_instructions()["en"].values())


def check_style(style: str) -> str:
    """Returns the name of a style.

    Raises:
        UsageError: if there is none of that name.
    """
    if style in STYLES:
        return style
    near = difflib.get_close_matches(style, STYLES, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown prompt style {style!r}", hint=f"{hint}Styles are: {', '.join(STYLES)}."
    )


def build_prompts(
    questions: Sequence[Question],
    *,
    style: str,
    language: str = "native",
    form: str,
    answer_by: str = "text",
) -> list[Prompt]:
    """Puts questions into words.

    Args:
        questions: Of one form.
        style: One of `STYLES`.
        language: `native`, or `english` for instructions in English (Table 10's other way).
        form: As in `forms.FORMS`; free questions are put as they are.
        answer_by: One of `ANSWER_BY`; questions without options are always answered in text.

    Raises:
        UsageError: if there is no such style, prompt language or way to answer.
    """
    check_style(style)
    if answer_by not in ANSWER_BY:
        raise UsageError(
            f"unknown way to answer {answer_by!r}", hint=f"One of: {', '.join(ANSWER_BY)}."
        )
    if language not in PROMPT_LANGUAGES:
        raise UsageError(
            f"unknown prompt language {language!r}", hint=f"One of: {', '.join(PROMPT_LANGUAGES)}."
        )
    return [
        Prompt(
            key=question.key,
            language=question.language,
            text=prompt_text(asked, style=style, language=language, form=form),
            images=question.images,
            candidates=question.options if by_likelihood else {},
        )
        for question in questions
        for by_likelihood in [answer_by == "likelihood" and bool(question.options)]
        for asked in [replace(question, options={}) if by_likelihood else question]
    ]


def prompt_text(question: Question, *, style: str, language: str, form: str) -> str:
    """Returns the words of one question's prompt."""
    if form in FREE:
        return question.text
    is_yes_no = not question.options and (question.answer or "").lower() in ("yes", "no")
    if style == "vlmevalkit":
        return question.text if is_yes_no else _toolkit_text(question)
    lines = [question.hint] if question.hint else []
    lines.append(question.text)
    lines += [f"{letter}. {text}" for letter, text in question.options.items()]
    if style == "plain":
        return "\n".join(lines)
    words = "\n".join(lines)
    if is_yes_no:
        for request in _YES_NO_REQUESTS:
            words = words.removesuffix(request)
        return f"{words}\n{_instruction('yes_no', words, question, language)}"
    kind = "option" if question.options else "short"
    return f"{words}\n{_instruction(kind, words, question, language)}"


def _toolkit_text(question: Question) -> str:
    text = f"Hint: {question.hint}\n" if question.hint else ""
    text += f"Question: {question.text}\n"
    if question.options:
        options = "".join(f"{letter}. {option}\n" for letter, option in question.options.items())
        text += f"Options:\n{options}Please select the correct answer from the options above. \n"
    return text


def _instruction(kind: str, words: str, question: Question, language: str) -> str:
    """The instruction in the question's language, or in English where the authors have no other."""
    code = question.language
    if code not in _instructions() and _CHINESE.search(words):
        code = "zh"  # the authors go by the letters where the table's name says no language
    english = _instructions()["en"]
    native = english if language == "english" else _instructions().get(code, english)
    return native.get(kind) or english[kind]
