"""Requests and replies of OpenAI's chat-completions interface, and what Parrot adds to them.

What is asked for and cannot be given is refused by name, never dropped in silence; `max_tokens`
alone is cut to what the model has room for, which `finish_reason` then says.
"""

import base64
import binascii
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from parrot_core.data.samples import IMAGE_PLACEHOLDER
from parrot_core.errors import ParrotError, UsageError
from parrot_core.generation import Sampling
from parrot_core.generation.conversations import with_request, written_in
from parrot_core.languages import get_language
from parrot_core.serving.engine import Ticket

MOST_IMAGES = 8

# Settings of the interface that Parrot does not have, with the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (False, True),
}
_ABOUT_THE_CALLER = {"metadata", "prompt_cache_key", "safety_identifier", "service_tier"} | {
    "store",
    "user",
}


class RequestError(UsageError):
    """A request that is refused.

    Attributes:
        status: Of HTTP.
        code: A word for programs.
        param: The field that is wrong, if one is.
    """

    def __init__(
        self, problem: str, *, status: int = 400, code: str, param: str | None = None
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.code = code
        self.param = param


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _TextPart(_Part):
    type: Literal["text"]
    text: str


class _ImageAddress(_Part):
    url: str


class _ImagePart(_Part):
    type: Literal["image_url"]
    image_url: _ImageAddress


def _as_parts(content: object) -> object:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Message(_Part):
    role: Literal["system", "developer", "user", "assistant"]
    # A text is read as its one part, so that what is wrong is found in one way.
    content: Annotated[
        list[Annotated[_TextPart | _ImagePart, Field(discriminator="type")]],
        BeforeValidator(_as_parts),
    ]


class _StreamOptions(_Part):
    include_usage: bool = False


class _ParrotOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    language: str | None = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    messages: list[_Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stop: Annotated[list[str] | None, BeforeValidator(_as_list)] = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    parrot: _ParrotOptions | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """A request, read.

    Attributes:
        model: The name that was asked for.
        messages: In the words of chat templates, with a placeholder for each image, before the
            words of its message: so the model learned it.
        image_urls: In the order of the placeholders.
        language: Code of the language that is wanted; None leaves it to the model.
        max_tokens: Longest answer that was asked for.
        sampling: How tokens are chosen.
        stop: Texts that end the answer.
        stream: Whether it is wanted piece by piece.
        usage_at_end: Whether a stream ends with the counts of tokens.
    """

    model: str
    messages: list[dict[str, str]]
    image_urls: tuple[str, ...]
    language: str | None
    max_tokens: int | None
    sampling: Sampling
    stop: tuple[str, ...]
    stream: bool
    usage_at_end: bool


def read_request(body: bytes) -> ChatRequest:
    """Reads the body of a request for an answer.

    Raises:
        RequestError: saying which field is wrong, and how.
    """
    try:
        request = _Body.model_validate_json(body)
    except ValidationError as error:
        raise _explain(error) from error
    for name, value in (request.model_extra or {}).items():
        if name in _ABOUT_THE_CALLER or value is None or value in _NEUTRAL.get(name, ()):
            continue
        raise RequestError(f"{name} is not supported", code="unsupported_parameter", param=name)
    language = None
    if request.parrot is not None and request.parrot.language is not None:
        try:
            language = get_language(request.parrot.language).code
        except ParrotError as error:
            problem = f"{error.problem}. {error.hint}"
            raise RequestError(problem, code="unknown_language", param="parrot.language") from error
    messages, urls = _read_messages(request.messages, language)
    stop = tuple(request.stop or ())
    if len(stop) > 4 or "" in stop:
        problem = "stop takes up to four texts, none of them empty"
        raise RequestError(problem, code="invalid_value", param="stop")
    return ChatRequest(
        model=request.model,
        messages=messages,
        image_urls=tuple(urls),
        language=language,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        sampling=Sampling(
            temperature=request.temperature or 0.0,
            top_p=1.0 if request.top_p is None else request.top_p,
            seed=request.seed,
        ),
        stop=stop,
        stream=bool(request.stream),
        usage_at_end=request.stream_options is not None and request.stream_options.include_usage,
    )


def read_data_url(url: str) -> bytes:
    """Returns the bytes of a picture's `data:` URL.

    Raises:
        RequestError: if it is no picture's, or not in base64.
    """
    head, comma, data = url.partition(",")
    kind, *options = head.removeprefix("data:").split(";")
    if not comma or not kind.startswith("image/") or "base64" not in options:
        raise RequestError(
            "a data: URL must begin with data:image/…;base64,", code="invalid_image_url"
        )
    try:
        # Programs that encode for e-mail break it into lines.
        return base64.b64decode("".join(data.split()), validate=True)
    except binascii.Error as error:
        raise RequestError(f"broken base64: {error}", code="invalid_image_url") from error


def _read_messages(
    given: Sequence[_Message], language: str | None
) -> tuple[list[dict[str, str]], list[str]]:
    messages: list[dict[str, str]] = []
    urls: list[str] = []
    for number, message in enumerate(given):
        parts = message.content
        text = "\n".join(part.text for part in parts if isinstance(part, _TextPart))
        images = [part.image_url.url for part in parts if isinstance(part, _ImagePart)]
        place = f"messages.{number}.content"
        if IMAGE_PLACEHOLDER in text:
            raise RequestError(
                f"{IMAGE_PLACEHOLDER} is no ordinary text: give pictures as image_url parts",
                code="invalid_value",
                param=place,
            )
        if images and message.role != "user":
            raise RequestError("only users show pictures", code="invalid_value", param=place)
        if number == len(given) - 1:
            if message.role != "user":
                raise RequestError(
                    "the last message must be a user's", code="invalid_value", param="messages"
                )
            text = with_request(text, language)
        role = "system" if message.role == "developer" else message.role
        shown = "".join(f"{IMAGE_PLACEHOLDER}\n" for _ in images)
        messages.append({"role": role, "content": f"{shown}{text}"})
        urls += images
    if len(urls) > MOST_IMAGES:
        raise RequestError(
            f"{len(urls)} pictures, at most {MOST_IMAGES} are taken",
            code="too_many_images",
            param="messages",
        )
    return messages, urls


def _explain(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return RequestError(f"the body is not JSON: {first['msg']}", code="invalid_json")
    place = ".".join(str(step) for step in first["loc"])
    where = f"{place}: " if place else ""
    return RequestError(f"{where}{first['msg']}", code="invalid_value", param=place or None)


class Reply:
    """The documents of one answer.

    Args:
        request: What was asked.
        ticket: The answer.
        model: The name of the model.
    """

    def __init__(self, request: ChatRequest, ticket: Ticket, *, model: str) -> None:
        self._request = request
        self._ticket = ticket
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self) -> dict[str, Any]:
        """The answer in one document."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self._ticket.text, "refusal": None},
            "finish_reason": self._ticket.ended,
            "logprobs": None,
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": self._usage(),
            "parrot": {**self._routing(), **self._languages()},
        }

    def first(self) -> dict[str, Any]:
        """The first document of a stream: who speaks, and the routing."""
        return self._chunk({"role": "assistant", "content": ""}, parrot=self._routing())

    def piece(self, text: str) -> dict[str, Any]:
        """A further piece of the text."""
        return self._chunk({"content": text})

    def last(self) -> dict[str, Any]:
        """Why the answer ended, and in which language it was."""
        return self._chunk({}, finish=self._ticket.ended, parrot=self._languages())

    def usage(self) -> dict[str, Any] | None:
        """The counts of tokens, if the stream is to end with them."""
        if not self._request.usage_at_end:
            return None
        head = {**self._head, "object": "chat.completion.chunk"}
        return {**head, "choices": [], "usage": self._usage()}

    def _chunk(
        self,
        delta: Mapping[str, Any],
        *,
        finish: str | None = None,
        parrot: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return chunk if parrot is None else {**chunk, "parrot": parrot}

    def _usage(self) -> dict[str, int]:
        asked, answered = len(self._ticket.prompt.input_ids), len(self._ticket.ids)
        return {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
        }

    def _routing(self) -> dict[str, Any]:
        rows = self._ticket.routing
        return {"routing": None if rows is None else [list(row) for row in rows]}

    def _languages(self) -> dict[str, Any]:
        wanted = self._request.language
        spoken = None if wanted is None else written_in(self._ticket.text, wanted)
        return {"language": wanted, "answered_in": spoken}
