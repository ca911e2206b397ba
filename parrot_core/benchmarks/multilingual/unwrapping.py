"""Taking an answer out of what it is wrapped in: reasoning, tags, boxes, JSON, code fences."""

import json
import re

from parrot_core.benchmarks.multilingual.folding import words
from parrot_core.benchmarks.multilingual.lexicon import LEXICON

_THINKING = r"(?:think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad)"
_BEGIN = rf"(?:[<\[◁](?:\w+:)?{_THINKING}[>\]▷]|<\|begin_of_thought\|>)"
_END = rf"(?:[<\[◁]/(?:\w+:)?{_THINKING}[>\]▷]|<\|end_of_thought\|>)"
_REASONING_MARK = re.compile(f"(?P<begin>{_BEGIN})|(?P<end>{_END})", re.IGNORECASE)
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>|</?s>")
_STRUCK_OUT = re.compile(r"~~.{1,300}?~~|<(s|del|strike)>.{1,300}?</\1>", re.DOTALL | re.IGNORECASE)
_ANSWER_TAG = re.compile(r"<(answer|final_answer|response)>(.*?)(?:</\1>|$)", re.DOTALL | re.I)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_TEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit|operatorname)\s*\{([^{}]*)\}")
_FENCE = re.compile(r"^\s*```(?:\w*[ \t]*\n)?(.*?)\n?```\s*$", re.DOTALL)


def as_text(prediction: object) -> str:
    """Returns a model's answer as text; a whole number read as a float loses its `.0`."""
    if isinstance(prediction, float) and prediction.is_integer():
        return str(int(prediction))
    return str(prediction)


def unwrap(answer: str) -> str:
    """Takes off what is not the answer: reasoning, struck-out text, tags, boxes, JSON, code fences.

    An answer that was cut off while it still reasoned says nothing, and becomes empty.
    """
    if any(mark in answer for mark in "<[◁~"):
        answer = _without_reasoning(answer)
        answer = _STRUCK_OUT.sub(" ", answer)
        answer = _SPECIAL_TOKEN.sub(" ", answer)
        tags = _ANSWER_TAG.findall(answer)
        if tags:
            answer = tags[-1][1]
    if "```" in answer and (fence := _FENCE.match(answer)):
        answer = fence[1]
    if "\\" in answer:
        boxes = _BOXED.findall(answer)
        answer = _TEX_TEXT.sub(r"\1", boxes[-1] if boxes else answer)
    stripped = answer.strip()
    if stripped[:1] in "{[" and stripped[-1:] in "}]" and stripped:
        return _from_json(stripped) or answer
    return answer


def _without_reasoning(answer: str) -> str:
    """Takes out reasoning; one that has no beginning began before, one without an end was cut."""
    kept, outside, place = [], True, 0
    for mark in _REASONING_MARK.finditer(answer):
        if mark["begin"] and outside:
            kept.append(answer[place : mark.start()])
            outside = False
        elif mark["end"]:
            if outside:
                kept.clear()
            outside, place = True, mark.end()
    return " ".join([*kept, answer[place:]] if outside else kept)


def _from_json(text: str) -> str | None:
    """Returns the answer in JSON: the value of a key that announces it, or the only value."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        scalars = {
            str(key): item for key, item in value.items() if isinstance(item, str | int | float)
        }
        answering = [item for key, item in scalars.items() if _names_an_answer(key)]
        chosen = answering or (list(scalars.values()) if len(scalars) == 1 else [])
        value = chosen[0] if len(chosen) == 1 else None
    return as_text(value) if isinstance(value, str | int | float) else None


def _names_an_answer(key: str) -> bool:
    parts = words(key.replace("_", " "))
    return any(part in LEXICON.answer_words for part in parts) or parts in LEXICON.answer_phrases
