"""Models behind an OpenAI-compatible endpoint: vLLM, llama.cpp, `transformers serve` and others."""

import base64
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from parrot_core.benchmarks.base import Prompt, refuse_candidates
from parrot_core.errors import RemoteError, UsageError

_log = logging.getLogger(__name__)

_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
_LONGEST_WAIT = 60.0  # seconds
_MIME_TYPES = (
    (b"\xff\xd8", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"BM", "image/bmp"),
)


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
        """Refuses what is no web address."""
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(
                f"not a web address: {self.url!r}", hint="Write it as http://localhost:8000/v1."
            )

    def chat(
        self, messages: Sequence[dict[str, Any]], *, max_tokens: int, temperature: float = 0.0
    ) -> str:
        """Returns the answer to a conversation.

        Raises:
            RemoteError: if the service cannot be reached, refuses, or answers without words.
        """
        body = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        reply = self._post("chat/completions", body)
        try:
            choice = reply["choices"][0]
            content = choice["message"]["content"]
        except (KeyError, IndexError, TypeError) as error:
            raise RemoteError(
                f"{self.url} answered without a choice", hint="Is it OpenAI-compatible?"
            ) from error
        if not isinstance(content, str):
            reason = choice.get("finish_reason")
            raise RemoteError(
                f"{self.model} at {self.url} gave no words (finish reason {reason})",
                hint="Give it more tokens, or look at the service's log.",
            )
        return content

    def _post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
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
                with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                detail = error.read(2000).decode("utf-8", "replace").strip().replace("\n", " ")
                problem = f"{self.url} answered {error.code}: {detail[:200]}"
                if error.code not in _RETRIED:
                    hint = (
                        "Set the key in the environment variable that --key-variable names."
                        if error.code in (401, 403)
                        else "Check the model's name and the request's size."
                    )
                    raise RemoteError(problem, hint=hint) from error
                wait = _retry_after(error.headers.get("Retry-After"), wait)
            except ValueError as error:
                raise RemoteError(
                    f"{self.url} answered with what is not JSON", hint="Is it the API's base?"
                ) from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                problem = f"cannot reach {self.url}: {getattr(error, 'reason', error)}"
            if attempt + 1 < self.attempts:
                _log.warning("%s; tries again in %.1f s", problem, wait)
                time.sleep(wait)
        raise RemoteError(problem, hint="Is the service up? What was answered so far is kept.")


def _retry_after(header: str | None, otherwise: float) -> float:
    return min(_LONGEST_WAIT, float(header)) if header and header.isdigit() else otherwise


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
        with ThreadPoolExecutor(self.concurrency) as pool:
            yield from pool.map(self._answer_one, prompts)

    def _answer_one(self, prompt: Prompt) -> str:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_uri(image.load())}}
            for image in prompt.images
        ]
        content.append({"type": "text", "text": prompt.text})
        messages = [{"role": "user", "content": content}]
        return self.endpoint.chat(messages, max_tokens=self.max_new_tokens).strip()


def data_uri(picture: bytes) -> str:
    """Returns a picture's file as a data URI, its bytes unchanged."""
    mime = next((mime for start, mime in _MIME_TYPES if picture.startswith(start)), "image/png")
    return f"data:{mime};base64,{base64.b64encode(picture).decode('ascii')}"
