"""Steps done by a model behind an OpenAI-compatible endpoint: the paper's GPT-4, or one's own."""

import asyncio
import base64
import email.utils
import io
import json
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp

from parrot_core.errors import MissingError, RemoteError, UsageError
from parrot_core.translation.costs import IMAGE_SIDE, IMAGE_TOKENS, Price, estimate_tokens
from parrot_core.translation.workers import (
    Answer,
    Call,
    RejectedError,
    TransientError,
    UnusableError,
)

DEFAULT_BASE_URL = "https://api.openai.com/v1"

_ANSWER_TOKENS = 256  # at least; an answer may take four times its source's tokens on top
_ENLARGEMENTS = 3  # how often an answer that was cut short gets twice the room
_VOTE_TOKENS = 256
_MESSAGE_TOKENS = 16  # that a message has besides its words, at most
_LIMITS = ("max_tokens", "max_completion_tokens")
_MANY_TOKENS = 1_000_000_000
_BODY_BYTES = 16 * 1024 * 1024
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]*)?")
_LATER = frozenset({408, 409, 425, 429})
_NEVER = frozenset({400, 413, 415, 422})
_STEP_PARAMETERS: dict[str, dict[str, Any]] = {
    "draft": {"temperature": 0},
    "recheck": {"temperature": 0},
    "refine": {"temperature": 0.7},
    "vote": {"temperature": 0},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where the model is.

    Attributes:
        base_url: The URL that `/chat/completions` follows; without a path, `/v1` is added.
        key: The secret; None for a server that wants none. Never shown by `repr`.
        timeout: Seconds for one request, all of it.
    """

    base_url: str = DEFAULT_BASE_URL
    key: str | None = field(default=None, repr=False)
    timeout: float = 120.0

    @property
    def url(self) -> str:
        """The address that is asked.

        Raises:
            UsageError: if the base URL is none, or has a name or password in it.
        """
        if "@" in self.base_url.partition("?")[0]:  # whether it is a URL or not: it is not shown
            raise UsageError(
                "--base-url has a name or password in it",
                hint="Secrets come from the environment: set OPENAI_API_KEY.",
            )
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # brackets without an address, a port beyond 65,535
            usable = False
        if not usable:
            raise UsageError(
                f"no URL: {self.base_url.partition('?')[0]!r}",
                hint="Give e.g. --base-url http://localhost:8000/v1.",
            )
        path = parts.path.rstrip("/") or "/v1"
        path = path.removesuffix("/chat/completions") + "/chat/completions"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


class ChatWorker:
    """Asks `/chat/completions`.

    Args:
        endpoint: Where the model is.
        prices: What tokens cost by model, where that is known.
        parameters: Parameters of requests over those of the steps; None removes one, for models
            that refuse it.
        token_limit: Name of the parameter that limits an answer (`max_completion_tokens` for some
            newer models).
    """

    name = "openai"
    steps = frozenset({"draft", "recheck", "refine", "vote"})
    repeatable = True
    sees = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prices: Mapping[str, Price] | None = None,
        parameters: Mapping[str, Any] | None = None,
        token_limit: str = "max_tokens",
    ) -> None:
        """Checks the address; connects only when first asked."""
        self._url = endpoint.url
        self._host = urlsplit(self._url).netloc
        if endpoint.key is None and endpoint.base_url == DEFAULT_BASE_URL:
            raise MissingError(
                "no key for api.openai.com",
                hint="Set OPENAI_API_KEY, or give the --base-url of a server that needs none.",
            )
        self._endpoint = endpoint
        self._prices = dict(prices or {})
        self._own = dict(parameters or {})
        self._token_limit = token_limit
        # Looked up once: aiohttp's `trust_env` does it for every request, in a thread.
        self._proxy, self._proxy_headers = _proxy_of(self._url)
        self._session: aiohttp.ClientSession | None = None

    def parameters(self, step: str, *, candidate: int, text: str) -> dict[str, Any]:
        """Returns temperature and seed of a step, and the user's own parameters over them."""
        del text
        merged = dict(_STEP_PARAMETERS[step])
        if step in ("refine", "vote"):
            merged["seed"] = candidate + 1
        merged.update(self._own)
        return {name: value for name, value in merged.items() if value is not None}

    def ceiling(self, call: Call, *, tries: int) -> int | None:
        """Returns the cost of the longest question its bytes can be, and the longest answer."""
        price = self._prices.get(call.model)
        if price is None:
            return None
        # No tokenizer makes more tokens of a text than it has bytes.
        question = sum(
            len(message["content"].encode()) + _MESSAGE_TOKENS for message in call.messages
        )
        if call.image is not None:
            question += price.image_tokens
        limits = [call.parameters[name] for name in _LIMITS if name in call.parameters]
        own = [limit for limit in limits if isinstance(limit, int)]
        return price.cost(question, max(own, default=_answer_tokens(call, tries)))

    async def answer(self, call: Call, *, tries: int) -> Answer:
        """Asks once; see `Worker.answer` for what it raises."""
        body = {
            "model": call.model,
            "messages": await _messages(call),
            self._token_limit: _answer_tokens(call, tries),
            **call.parameters,
        }
        status, headers, content = await self._post(body)
        if status != 200:
            raise self._failure(status, headers, content)
        return self._read(call, content)

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        session = self._session
        if session is None:
            session = self._session = aiohttp.ClientSession(
                # The pipeline limits concurrency itself.
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout),
            )
        data = json.dumps(body, ensure_ascii=False).encode()
        # With the request: a session's own headers would be told to a proxy too.
        headers = {"Content-Type": "application/json"} | self._proxy_headers
        if self._endpoint.key is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.key}"
        try:
            # A redirect would carry the key to wherever it points.
            async with session.post(
                self._url,
                data=data,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > _BODY_BYTES:
                        raise TransientError(
                            "malformed", f"an endless answer from {self._host}", lost=True
                        )
                return response.status, response.headers, bytes(content)
        except aiohttp.ClientConnectorError as error:
            raise TransientError(
                "unreachable", self._redact(f"cannot connect to {self._host}: {error.os_error}")
            ) from error
        except TimeoutError as error:
            raise TransientError(
                "timeout", f"no answer from {self._host} in {self._endpoint.timeout:g} s", lost=True
            ) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            # Without its cause, whose words are the server's and may repeat the key.
            raise TransientError(
                "connection",
                f"the connection to {self._host} broke: {type(error).__name__}",
                lost=True,
            ) from None

    def _failure(self, status: int, headers: Mapping[str, str], content: bytes) -> Exception:
        """Says what an HTTP error means: later, never for this call, or never at all."""
        code, message = _error_of(content)
        said = self._redact(f"{self._host} answers {status}{f': {message}' if message else ''}")
        if code in ("insufficient_quota", "billing_hard_limit_reached"):
            return RemoteError(said, hint="The account has no quota left: top it up, then go on.")
        if status in _LATER or status >= 500:
            return TransientError(str(status), said, retry_after=_retry_after(headers))
        if status in _NEVER:
            return RejectedError(str(status), said)
        hints = {
            401: "Check the key in the environment.",
            403: "The key may not use this model or address.",
            404: "Check --base-url and --model.",
        }
        return RemoteError(said, hint=hints.get(status, "Check --base-url."))

    def _read(self, call: Call, content: bytes) -> Answer:
        """Reads an answer out of a response, and refuses what is none."""
        try:
            payload = json.loads(content)
            choice = payload["choices"][0]
            message = choice["message"]
            text = message.get("content") or ""
            if isinstance(text, list):
                text = "".join(str(part.get("text", "")) for part in text)
            # Half of a pair, where a server cut an emoji in two, can be written nowhere.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            _, message = _error_of(content)  # some services put their errors into a 200
            said = self._redact(f"{self._host} sent no chat completion: {message or 'nothing'}")
            raise TransientError("malformed", said, lost=True) from error
        price = self._prices.get(call.model)
        usage = payload.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        question = sum(estimate_tokens(message["content"]) + 4 for message in call.messages)
        if call.image is not None:
            question += IMAGE_TOKENS if price is None else price.image_tokens
        prompt_tokens = _count_of(usage, "prompt_tokens", otherwise=question)
        completion_tokens = _count_of(usage, "completion_tokens", otherwise=estimate_tokens(text))
        answer = Answer(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost=None if price is None else price.cost(prompt_tokens, completion_tokens),
        )
        ending = choice.get("finish_reason")
        if ending == "length":
            raise UnusableError("truncated", answer)
        if ending == "content_filter":
            raise UnusableError("filtered", answer)
        if message.get("refusal"):
            raise UnusableError("refused", answer)
        if not text.strip():
            raise UnusableError("empty", answer)
        return answer

    def _redact(self, text: str) -> str:
        """Takes the key, which some services repeat in their errors, out of a text."""
        key = self._endpoint.key
        return text.replace(key, "[key]") if key else text


def _count_of(usage: Mapping[str, Any], name: str, *, otherwise: int) -> int:
    """Returns how many tokens a service counted, unless it says nothing that can be true."""
    count = usage.get(name)
    return count if isinstance(count, int) and 0 <= count < _MANY_TOKENS else otherwise


def _proxy_of(url: str) -> tuple[str | None, dict[str, str]]:
    """Returns the proxy that the environment names for an address, and what it must be told."""
    address = urlsplit(url)
    named = urllib.request.getproxies().get(address.scheme)
    if named is None or urllib.request.proxy_bypass(address.netloc):
        return None, {}
    named = named if "//" in named else f"http://{named}"
    proxy = urlsplit(named)
    if proxy.username is None or address.scheme == "https":  # aiohttp tells it to open a tunnel
        return named, {}
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return named, {"Proxy-Authorization": f"Basic {base64.b64encode(secret).decode()}"}


def _answer_tokens(call: Call, tries: int) -> int:
    """Room for an answer: much more than it should take, twice that after each that was cut."""
    room = _VOTE_TOKENS if call.step == "vote" else _ANSWER_TOKENS + 4 * estimate_tokens(call.text)
    return room << min(tries, _ENLARGEMENTS)


async def _messages(call: Call) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [dict(message) for message in call.messages]
    if call.image is not None:
        picture = await asyncio.to_thread(_data_url, call.image)
        first = next(message for message in messages if message["role"] == "user")
        first["content"] = [
            {"type": "text", "text": first["content"]},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
    return messages


def _data_url(path: Path) -> str:
    from parrot_core.data.images import open_image

    image = open_image(path)
    image.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _error_of(content: bytes) -> tuple[str, str]:
    """Returns code and message of an error's body, one line at most 300 characters long."""
    try:
        error = json.loads(content)["error"]
        code, message = (str(error.get(name) or "") for name in ("code", "message"))
    except (ValueError, LookupError, TypeError, AttributeError):
        code, message = "", content[:300].decode(errors="replace")
    return code, " ".join(message.split())[:300]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Reads how long to wait: seconds or a date (RFC 9110), or milliseconds as some send."""
    milliseconds = headers.get("retry-after-ms") or ""
    if _SECONDS.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    value = (headers.get("Retry-After") or "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
