"""Conversations as text: the language model's own chat template, and where the assistant speaks."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from parrot_core.errors import UsageError
from parrot_core.model.errors import ChatTemplateError

ROLES = ("system", "user", "assistant")

# For templates of reasoning models: answers are given without a train of thought.
_TEMPLATE_VARIABLES = {"enable_thinking": False}

# Stand for the assistant's words while a template is rendered; private-use letters, so that no
# template takes them for markup and no text holds them.
_MARKS = ("\ue000", "\ue001")


def render_with_spans(
    messages: Sequence[Mapping[str, str]],
    *,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    add_generation_prompt: bool = False,
    continue_final_message: bool = False,
    **variables: Any,  # noqa: ANN401 - the template's own
) -> tuple[str, list[tuple[int, int]]]:
    """Renders a conversation and finds the assistant's words in it.

    A template that marks them itself (`{% generation %}`) is believed. Otherwise the conversation
    is rendered a second time with marks in place of the assistant's words, which shows the
    template's own text around them; put together again, both must give the first rendering.

    Args:
        messages: `role` (system, user, assistant) and `content`, a string.
        tokenizer: Its special tokens tell where a turn ends.
        template: The chat template, Jinja.
        add_generation_prompt: Whether to end with the header of the assistant's next turn.
        continue_final_message: Whether the last message is to be continued: the text ends with its
            last word.
        **variables: Further variables of the template.

    Returns:
        The text, and for each assistant message the span of its words and its end-of-turn token. A
        conversation that ends with the assistant's words ends with that token.

    Raises:
        ChatTemplateError: if the template refuses the conversation, if the words cannot be found,
            or if no special token ends a turn.
    """
    arguments = {"tokenizer": tokenizer, "template": template, **variables}
    text, marked = _render(messages, add_generation_prompt=add_generation_prompt, **arguments)
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    if not answers:
        return text, []
    spans = marked if marked else _find_words(messages, text, add_generation_prompt, arguments)
    _check_spans(text, spans, answers)
    if continue_final_message:
        last = text.index(answers[-1].strip(), spans[-1][0]) + len(answers[-1].strip())
        text, spans[-1] = text[:last], (spans[-1][0], last)
    finished = spans[:-1] if continue_final_message else spans
    spans[: len(finished)] = [
        (start, _turn_end(text, start, end, tokenizer)) for start, end in finished
    ]
    if messages[-1]["role"] == "assistant":
        text = text[: spans[-1][1]]
    return text, spans


def check_conversation(messages: Sequence[Mapping[str, str]], *, place: str) -> None:
    """Checks roles and contents.

    Raises:
        UsageError: with the place and what is wrong there.
    """
    if not messages:
        raise UsageError(f"{place} is empty", hint="Give at least one message.")
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise UsageError(
                f"{place}, message {number}: unknown role {role!r}",
                hint=f"Use one of {', '.join(ROLES)}.",
            )
        if not isinstance(content, str):
            raise UsageError(
                f"{place}, message {number}: content is a {type(content).__name__}, not text",
                hint="Write <image> where an image goes.",
            )
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{place}, message {number}: {content[error.start]!r} is no character",
                hint="Write it in UTF-8, and see that the terminal or the file is in it.",
            ) from error


def _render(
    messages: Sequence[Mapping[str, str]],
    *,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    add_generation_prompt: bool,
    **variables: Any,  # noqa: ANN401
) -> tuple[str, list[tuple[int, int]]]:
    """The rendering, and the spans that the template marks, if it does."""
    from jinja2 import TemplateError

    marks_itself = "{% generation" in template or "{%- generation" in template
    rendered: Any
    try:
        rendered = render_jinja_template(
            conversations=[[dict(message) for message in messages]],
            chat_template=template,
            return_assistant_tokens_mask=marks_itself,
            add_generation_prompt=add_generation_prompt,
            **{**tokenizer.special_tokens_map, **_TEMPLATE_VARIABLES, **variables},
        )
    except (TemplateError, TypeError) as error:
        raise ChatTemplateError(
            f"the chat template refuses this conversation: {error}",
            hint="See which roles, and in which order, the language model's template allows.",
        ) from error
    texts, spans = rendered
    text: str = texts[0]
    return text, [(start, end) for start, end in spans[0]] if marks_itself else []


def _find_words(
    messages: Sequence[Mapping[str, str]],
    text: str,
    add_generation_prompt: bool,  # noqa: FBT001
    arguments: Mapping[str, Any],
) -> list[tuple[int, int]]:
    marked: list[Mapping[str, str]] = []
    answers: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            mark = f"{_MARKS[0]}{len(answers)}{_MARKS[1]}"
            answers.append(message["content"])
            message = {**message, "content": mark}
        marked.append(message)
    frame, _ = _render(marked, add_generation_prompt=add_generation_prompt, **arguments)
    pieces, rest = [], frame
    for number in range(len(answers)):
        piece, mark, rest = rest.partition(f"{_MARKS[0]}{number}{_MARKS[1]}")
        if not mark:
            raise _words_not_found(f"it drops assistant message {number}")
        pieces.append(piece)
    for trim in (str, str.strip, str.lstrip, str.rstrip):  # templates may trim what they are given
        spans, built = [], ""
        for piece, answer in zip(pieces, answers, strict=True):
            built += piece
            spans.append((len(built), len(built) + len(trim(answer))))
            built += trim(answer)
        if built + rest == text:
            return spans
    raise _words_not_found("it writes other text around them depending on the words")


def _check_spans(text: str, spans: Sequence[tuple[int, int]], answers: Sequence[str]) -> None:
    if len(spans) != len(answers):
        raise _words_not_found(f"it marks {len(spans)} turns of {len(answers)}")
    for number, ((start, end), answer) in enumerate(zip(spans, answers, strict=True)):
        if answer.strip() not in text[start:end]:
            raise _words_not_found(f"what it marks as message {number} lacks the words")
        if not answer.strip():
            raise ChatTemplateError(
                f"assistant message {number} is empty", hint="Remove it, or give it words."
            )


def _turn_end(text: str, start: int, end: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """Where the special token that ends the turn ends: within the span, or after it."""
    # Not every tokenizer lists its end of turn among its named special tokens.
    added = tokenizer.added_tokens_decoder.values()
    known = {*tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}
    specials = sorted(known, key=len, reverse=True)
    if any(text[start:end].rstrip().endswith(special) for special in specials):
        return start + len(text[start:end].rstrip())
    rest = text[end:]
    after = rest.lstrip()
    for special in specials:
        if special and after.startswith(special):
            return end + len(rest) - len(after) + len(special)
    raise ChatTemplateError(
        f"no special token ends the assistant's turn; {after[:20]!r} follows it",
        hint="Use a template that ends turns with a special token, or the model never stops.",
    )


def _words_not_found(reason: str) -> ChatTemplateError:
    return ChatTemplateError(
        f"the assistant's words cannot be found in what the chat template writes: {reason}",
        hint="Mark them in the template with {% generation %} and {% endgeneration %}.",
    )
