"""Models behind an OpenAI-compatible endpoint: vLLM, llama.cpp, `transformers serve` and others."""

import base64
import http.client
import json
import logging
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from parrot_core.benchmarks.base import Prompt, refuse_candidates
from parrot_core.errors import RemoteError, UsageError

_log = logging.getLogger(__name__)

_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
_LONGEST_WAIT = 60.0  # seconds
_LONGEST_REPLY = 16 * 1024 * 1024  # bytes
_MIME_TYPES = (
    (b"\xff\xd8", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"BM", "image/bmp"),
)


class NoWordsError(RemoteError):
    """The service answered, but without words: it was cut off while it thought, or it filters."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would carry the key to wherever it points."""

    def redirect_request(self, *_: object) -> None:
        """Has the redirect reported as an error of its status."""


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where chat completions are asked for.

    Attributes:
        url: The API's base, as `http://localhost:8000/v1`.
        model: The model's name there.
        key: Sent as a bearer token; never logged, printed or part of a fingerprint.
        timeout: Seconds for one request.
        attempts: How often a request that failed for a passing reason is made.
        first_wait: Seconds before the second attempt; doubled before each further one.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 300.0
    attempts: int = 5
    first_wait: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what is no web address, and a key that cannot be sent."""
        if not _is_web_address(self.url):
            raise UsageError(
                f"not a web address: {self.url!r}", hint="Write it as http://localhost:8000/v1."
            )
        if self.key and not (self.key.isascii() and self.key.isprintable()):
            raise UsageError(
                "the key of the endpoint has characters that cannot be sent",
                hint="Look for line ends and accents in the variable that --key-variable names.",
            )

    def chat(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: threading.Event | None = None,
    ) -> str:
        """Returns the answer to a conversation.

        Args:
            messages: The conversation.
            max_tokens: Longest answer.
            temperature: Of the sampling; 0 is greedy.
            stop: Once it is set, no further attempt is made.

        Raises:
            NoWordsError: if the service answers without words.
            RemoteError: if it cannot be reached or refuses.
        """
        body = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        content = self._post("chat/completions", body, stop or threading.Event())
        try:
            choice = json.loads(content)["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            if isinstance(text, list):
                text = "".join(str(part.get("text", "")) for part in text)
            # Half of a pair, where a server cut an emoji in two, can be written nowhere.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RemoteError(
                f"{self.url} sent no chat completion: {self._excerpt(content)}",
                hint="Is it the base of an OpenAI-compatible API?",
            ) from error
        if not text and message.get("content") is None:
            raise NoWordsError(
                f"{self.model} at {self.url} gave no words "
                f"(finish reason {choice.get('finish_reason')})",
                hint="Give it more tokens, or look at the service's log.",
            )
        return text

    def _post(self, path: str, body: dict[str, Any], stop: threading.Event) -> bytes:
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/{path}",
            data=json.dumps(body).encode("utf-8"),
            headers={"Content-Type": "application/json"},
        )
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        problem = ""
        for attempt in range(self.attempts):
            wait = min(_LONGEST_WAIT, self.first_wait * 2**attempt)
            try:
                with _OPENER.open(request, timeout=self.timeout) as reply:
                    content: bytes = reply.read(_LONGEST_REPLY)
                    if reply.length:
                        raise http.client.IncompleteRead(content, reply.length)
                    return content
            except urllib.error.HTTPError as error:
                problem = f"{self.url} answered {error.code}: {self._excerpt(error.read(2000))}"
                if error.code not in _RETRIED:
                    raise RemoteError(problem, hint=_hint_on(error)) from error
                wait = _retry_after(error.headers.get("Retry-After"), wait)
            except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
                said = getattr(error, "reason", error) or type(error).__name__
                problem = f"cannot reach {self.url}: {said}"
            if attempt + 1 < self.attempts and not stop.is_set():
                _log.warning("%s; tries again in %.1f s", problem, wait)
                stop.wait(wait)
            if stop.is_set():
                break
        raise RemoteError(problem, hint="Is the service up? What was answered so far is kept.")

    def _excerpt(self, content: bytes) -> str:
        """Returns the beginning of what a service said in a line, without the key it may repeat."""
        text = content[:2000].decode("utf-8", "replace")
        if self.key:
            text = text.replace(self.key, "[key]")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _is_web_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:  # half an IPv6 address, or a port out of range
        return False
    speakable = url.isascii() and url.isprintable() and " " not in url
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and speakable


def _hint_on(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return "Set the key in the environment variable that --key-variable names."
    if moved := error.headers.get("Location"):
        return f"It has moved: give its new address, {moved}."
    return "Check the model's name and the request's size."


def _retry_after(header: str | None, otherwise: float) -> float:
    """Returns the seconds that a service asks to wait, unless it names a date or none."""
    try:
        asked = float(header or "")
    except ValueError:
        return otherwise
    return min(_LONGEST_WAIT, asked) if asked >= 0 else otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointAnswerer:
    """A model behind an endpoint, as an `Answerer`.

    Attributes:
        endpoint: Where it is.
        max_new_tokens: Longest answer.
        concurrency: Requests at once.
    """

    endpoint: Endpoint
    max_new_tokens: int = 512
    concurrency: int = 8

    @property
    def identity(self) -> dict[str, object]:
        """The service and the decoding; the weights behind a name are the service's secret."""
        return {
            "name": self.endpoint.model,
            "url": self.endpoint.url,
            "max_new_tokens": self.max_new_tokens,
            "decoding": "greedy",
        }

    @property
    def batch_size(self) -> int:
        """As many prompts as are asked at once."""
        return self.concurrency

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Does nothing: pictures are sent as they are."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[str]:
        """Yields answers in the order of the prompts, as soon as each is there.

        Raises:
            UsageError: if a prompt has candidates; endpoints do not say how likely they are.
        """
        refuse_candidates(prompts, name=self.endpoint.model)
        return ask_at_once([partial(self._answer_one, prompt) for prompt in prompts])

    def _answer_one(self, prompt: Prompt, stop: threading.Event) -> str:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_uri(image.load())}}
            for image in prompt.images
        ]
        content.append({"type": "text", "text": prompt.text})
        messages = [{"role": "user", "content": content}]
        try:
            return self.endpoint.chat(messages, max_tokens=self.max_new_tokens, stop=stop).strip()
        except NoWordsError as error:
            _log.warning("%s: %s; it counts as unreadable", prompt.key, error.problem)
            return ""


def ask_at_once(requests: Sequence[Callable[[threading.Event], str]]) -> Iterator[str]:
    """Makes all of some requests at the same time, and yields the answers in their order.

    Args:
        requests: Each takes an event, which is set once no further attempt is to be made.
    """
    stop = threading.Event()
    answers: list[Future[str]] = [Future() for _ in requests]
    # Not a pool: its threads would be waited for at the end, however long a service hangs.
    for answer, ask in zip(answers, requests, strict=True):
        threading.Thread(target=_fulfil, args=(answer, partial(ask, stop)), daemon=True).start()
    try:
        for answer in answers:
            yield answer.result()
    finally:
        stop.set()


def _fulfil(promise: Future[str], work: Callable[[], str]) -> None:
    """Does what was promised; what goes wrong is raised for whoever waits."""
    try:
        promise.set_result(work())
    except Exception as error:  # noqa: BLE001 - it is not swallowed, but handed on
        promise.set_exception(error)


def data_uri(picture: bytes) -> str:
    """Returns a picture's file as a data URI, its bytes unchanged."""
    mime = next((mime for start, mime in _MIME_TYPES if picture.startswith(start)), "image/png")
    return f"data:{mime};base64,{base64.b64encode(picture).decode('ascii')}"
