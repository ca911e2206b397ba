"""How VLMEvalKit reads answers, rebuilt rule by rule so that its published numbers can be compared.

The toolkit's exact-matching mode at two dates: August 2026, and the copy of August 2024 that the
paper's authors bundled. Nothing here is what a careful reader would do; the defects are the point,
and `multilingual` is the scorer without them.
"""

import re
from collections.abc import Mapping

REFUSED = "Z"
"""What the toolkit answers for one of its four refusal sentences, or a lone letter Z."""

_FAILED_CALL = "Failed to obtain answer via API"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_TO_BLANKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"answer is\s*\**\s*([A-D])", re.IGNORECASE)

_YES_NO_MARKS = (*';/[]"{}()=+\\_-><@`,?!',)
_DIGIT_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS_REMOVED = 32  # the toolkit passes a flag, whose value is 32, as the number of removals


def infer_option(
    prediction: object, choices: Mapping[str, str], *, of_2024: bool = False
) -> str | None:
    """Returns the toolkit's letter for an answer, `REFUSED`, or None where it cannot tell.

    Args:
        prediction: The model's answer; numbers are read as their text.
        choices: Option texts by letter; the toolkit's reader loses options such as `None`, so a
            caller that wants its numbers leaves them out (see `scoring.toolkit_choices`).
        of_2024: Follow the copy of August 2024 instead of the toolkit of August 2026.
    """
    answer = str(prediction)
    failed = _FAILED_CALL in answer
    letter = None if failed else _by_letter(answer, choices, of_2024=of_2024)
    if letter is None and not failed and not of_2024:
        match = _ANSWER_IS.search(answer)
        if match and match[1].upper() in choices:
            return match[1].upper()
    return letter or _by_text(answer, choices, of_2024=of_2024)


def _by_letter(answer: str, choices: Mapping[str, str], *, of_2024: bool) -> str | None:
    if any(refusal in answer for refusal in _REFUSALS):
        return REFUSED
    tokens = answer.translate(_TO_BLANKS).split()
    found = [letter for letter in choices if letter in tokens]
    if not found:
        return REFUSED if REFUSED in tokens else None
    if len(found) > 1:
        return None
    near_the_end = tokens.index(found[0]) > len(tokens) - 5
    return found[0] if of_2024 or near_the_end else None


def _by_text(answer: str, choices: Mapping[str, str], *, of_2024: bool) -> str | None:
    answer = answer.lower()
    texts = {letter: str(text).lower() for letter, text in choices.items()}
    if not of_2024 and len(answer) > 2 * sum(map(len, texts.values())):
        return None
    found = [letter for letter, text in texts.items() if text in answer]
    return found[0] if len(found) == 1 else None


def infer_yes_no(prediction: object) -> str | None:
    """Returns the toolkit's `Yes` or `No` for an answer, or None for its `Unknown`."""
    lowered = str(prediction).lower()
    joins_everything = _DIGIT_COMMA.search(lowered) is not None
    text = lowered
    for mark in _YES_NO_MARKS:
        beside_a_blank = f"{mark} " in lowered or f" {mark}" in lowered
        text = text.replace(mark, "" if joins_everything or beside_a_blank else " ")
    words = _PERIOD.sub("", text, count=_PERIODS_REMOVED).split()
    has_yes, has_no = "yes" in words, "no" in words
    if has_yes == has_no:
        return None
    return "Yes" if has_yes else "No"
